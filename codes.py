"""Codes that people read aloud and type: referral codes and coupon codes.

The alphabet leaves out characters that look like another one (0/O, 1/I/L). Its 31 characters are a
prime number of them, so one check character catches every single typo and every swap of two
characters: a mistyped code is told apart from an unknown one without asking the database.
"""

import re
import secrets
import unicodedata

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"

_BASE = len(ALPHABET)
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
# The check character weighs -1 and the body weighs 1, 2, 3, … (modulo 31). Any two weights differ,
# which catches swaps, and none is 0, which catches typos, as long as a body is shorter than 30.
_MAX_LENGTH = _BASE - 1
_SEPARATORS = re.compile(r"[\s\-\u2010-\u2015\u2212]+")


def generate(length: int) -> str:
    """Return a new unpredictable code of `length` characters, the last of which is the check.

    Uniqueness is the caller's business: insert, and try another code when the row is refused.
    """
    if not 2 <= length <= _MAX_LENGTH:
        raise ValueError(f"A code has 2 to {_MAX_LENGTH} characters, not {length}.")
    number = secrets.randbelow(_BASE ** (length - 1))  # at once: each draw asks the system
    body = ""
    for _ in range(length - 1):
        number, value = divmod(number, _BASE)
        body += ALPHABET[value]
    return body + _check_character(body)


def normalize(text: str) -> str:
    """Return `text` as codes are stored: upper case, no spaces or dashes, no full-width forms."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", text)).upper()


def is_well_formed(text: str, length: int) -> bool:
    """Tell whether normalised `text` could be a code of `length` characters, check included."""
    if not text or len(text) != length or not _VALUES.keys() >= set(text):
        return False
    return text[-1] == _check_character(text[:-1])


def _check_character(body: str) -> str:
    total = sum(weight * _VALUES[character] for weight, character in enumerate(body, start=1))
    return ALPHABET[total % _BASE]
