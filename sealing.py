"""Secrets at rest: encrypted with keys derived from SECRET_KEY and SECRET_KEY_FALLBACKS."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Unreadable(Exception):
    """A secret was sealed with a SECRET_KEY that is no longer known. Add it to
    SECRET_KEY_FALLBACKS, or have a new secret made.
    """

    def __init__(self) -> None:
        super().__init__(" ".join((self.__doc__ or "").split()))


class Sealer:
    """Seals secrets of one purpose ("relay.sealing"): each purpose has keys of its own."""

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose.encode()

    def seal(self, secret: str) -> str:
        """Return a secret encrypted, as text."""
        return self._fernets().encrypt(secret.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """Return a sealed secret. Raises Unreadable."""
        try:
            return self._fernets().decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Unreadable from None

    def _fernets(self) -> MultiFernet:
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return MultiFernet([Fernet(self._derived(key)) for key in keys])

    def _derived(self, key: str) -> bytes:
        derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=self._purpose)
        return base64.urlsafe_b64encode(derivation.derive(key.encode()))
