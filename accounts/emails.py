"""What an e-mail address is: how it is stored, and whose it is."""

import stringprep
import unicodedata
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

MAX_LENGTH = 254

# The providers known to deliver "m.e+shop@" and "me@" into one mailbox. Others tell them apart.
_GMAIL_DOMAINS = {"gmail.com", "googlemail.com"}

_CLOSED_DOMAIN = "closed.invalid"  # RFC 2606: no such domain will ever exist

# ß, ẞ, ς and the (non-)joiners: Python's older rule for international domains makes ss, σ and
# nothing of them, by the newer one (IDNA 2008) they are other domains, which others may own.
_AMBIGUOUS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")


def fold_email(text: str) -> str:
    """Return `text` in the one form an address is stored and looked up in. Validates nothing.

    Full-width and composed forms (NFKC), case, surrounding space and the spelling of an
    international domain make no difference.
    """
    folded = unicodedata.normalize("NFKC", text.strip()).strip().lower()
    local, at, domain = folded.rpartition("@")
    try:
        return local + at + domain.encode("idna").decode("idna").lower()
    except UnicodeError:
        return folded


def clean_email(text: str) -> str:
    """Return the folded address. Raises ValidationError (required, max_length, invalid)."""
    if len(text.strip()) > MAX_LENGTH:
        raise _too_long()
    email = fold_email(text)
    if not email:
        raise ValidationError(_("Enter your e-mail address."), code="required")
    if len(email) > MAX_LENGTH:
        raise _too_long()
    if _has_ambiguous_domain(text) or not _is_deliverable(email):
        raise ValidationError(
            _("Enter a valid e-mail address, like name@example.com."), code="invalid"
        )
    return email


def canonical_email(email: str) -> str:
    """Return the address that one person's spellings share. Takes a folded address.

    Dots and "+tag" go only where the provider ignores them: elsewhere they are other people.
    """
    local, _at, domain = email.rpartition("@")
    if domain not in _GMAIL_DOMAINS:
        return email
    mailbox = local.partition("+")[0].replace(".", "")
    return f"{mailbox or local}@gmail.com"


def domain_of(email: str) -> str:
    """Return what stands behind the @ of a folded address."""
    return email.rpartition("@")[2]


def placeholder(account_id: UUID) -> str:
    """Return what stands in for the address of a closed account. Nobody can sign up with it."""
    return f"closed-{account_id}{placeholder_ending()}"


def placeholder_ending() -> str:
    """Return how every placeholder ends, and no address."""
    return f"@{_CLOSED_DOMAIN}"


def mask(email: str) -> str:
    """Return an address as others may see it, "m•••@e•••.com"; "—" for a closed account's."""
    local, _at, domain = email.rpartition("@")
    if domain == _CLOSED_DOMAIN:
        return "—"
    return f"{local[:1]}•••@{domain[:1]}•••.{domain.rpartition('.')[2]}"


def _has_ambiguous_domain(typed: str) -> bool:
    domain = unicodedata.normalize("NFKC", typed).rpartition("@")[2]
    return not _AMBIGUOUS.isdisjoint(domain)


def _is_deliverable(email: str) -> bool:
    try:
        validate_email(email)
        email.rpartition("@")[2].encode("idna").decode("idna")
    except (ValidationError, UnicodeError):
        return False
    if email.endswith(placeholder_ending()):
        return False
    return not any(_is_invisible_or_unassigned(character) for character in email)


def _is_invisible_or_unassigned(character: str) -> bool:
    # Two addresses must not look alike, and every release of every database must fold them alike.
    return unicodedata.category(character)[0] in "CZ" or stringprep.in_table_a1(character)


def _too_long() -> ValidationError:
    return ValidationError(
        _("An e-mail address has at most %(limit)d characters."),
        code="max_length",
        params={"limit": MAX_LENGTH},
    )
