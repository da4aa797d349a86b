"""Keyed hashes: values that must be known again, kept so that nobody can read or guess them.

The key is made of SECRET_KEY. While a former key is among SECRET_KEY_FALLBACKS, what was hashed
under it is still known again; once it is gone, it is not.
"""

from django.conf import settings
from django.utils.crypto import salted_hmac


def digest(purpose: str, text: str) -> str:
    """Return the hash to store: another one of a text for each purpose ("api.idempotency")."""
    return _digest(purpose, text, settings.SECRET_KEY)


def digests(purpose: str, text: str) -> list[str]:
    """Return the hashes to look for: under the present key and those that were replaced by it."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [_digest(purpose, text, key) for key in keys]


def _digest(purpose: str, text: str, key: str) -> str:
    return salted_hmac(purpose, text, secret=key, algorithm="sha256").hexdigest()
