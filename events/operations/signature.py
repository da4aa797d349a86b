"""Who intervened and why: what an operator gives up, skips or stops is signed."""

NAME_LENGTH = 150
REASON_LENGTH = 200


class Unsigned(ValueError):
    """An intervention lacks the operator's name or reason, or one is too long to be kept."""


def signed(*, by: str, reason: str) -> tuple[str, str]:
    """Return name and reason without blanks around them. Raises Unsigned."""
    for what, text, length in (("name", by, NAME_LENGTH), ("reason", reason, REASON_LENGTH)):
        if not text.strip():
            raise Unsigned(f"The operator's {what} is missing.")
        if len(text.strip()) > length:
            raise Unsigned(f"The operator's {what} is longer than {length} characters.")
    return by.strip(), reason.strip()
