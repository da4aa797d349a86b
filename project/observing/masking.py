"""Take out of a text whatever tells of a person or opens a door: addresses, tokens, codes, rows.

Ids stay: they tell nothing without the database, and with it they lead to the story.
"""

import re

import codes
from accounts.models import REFERRAL_CODE_LENGTH
from coupons.models import CODE_LENGTH
from events.delivery.failure import mask_addresses
from events.logs import without_rows

HIDDEN = "…"
_ID = re.compile(r"(\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b)")
# What is named as a secret, whatever it looks like: password=…, "token": "…", Bearer …
_NAMED = re.compile(
    r"""(?ix)
    \b(passw\w*|secret\w*|token|code|otp|key|cookie|sessionid|csrf\w*|authorization|bearer)
    (["']?\s*[:=]\s*["']?|\s+(?=\S*\d))
    (?:token\s+|bearer\s+)?
    [^\s"',;)}\]]+
    """
)
_LONG = re.compile(r"\b(?:whsec_)?[A-Za-z0-9+/_=-]{32,}")  # tokens, signatures, hashes
_DIGITS = re.compile(r"\b\d{6}\b|\b[0-9a-f]{8}\b")  # of an authenticator app; recovery codes
_WORD = re.compile(r"\b[0-9A-Z]{4}(?:-?[0-9A-Z]{4}){1,2}\b")
_LENGTHS = (REFERRAL_CODE_LENGTH, CODE_LENGTH)


def mask(text: str) -> str:
    """Return a text without what must not leave."""
    pieces = _ID.split(mask_addresses(without_rows(text)))
    return "".join(p if _ID.fullmatch(p) else _masked(p) for p in pieces)


def _masked(text: str) -> str:
    text = _NAMED.sub(rf"\1\2{HIDDEN}", text)
    for pattern in (_LONG, _DIGITS):
        text = pattern.sub(HIDDEN, text)
    return _WORD.sub(_without_code, text)


def _without_code(found: re.Match[str]) -> str:
    word = codes.normalize(found[0])
    return HIDDEN if any(codes.is_well_formed(word, length) for length in _LENGTHS) else found[0]
