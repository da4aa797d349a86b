"""Second factors of people in tests, and the codes that an app or a sheet of paper would show."""

import secrets
import time

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp

from accounts.models import User

STEP_S = 30


def set_up_app(user: User) -> str:
    """Give somebody an authenticator app, some time ago. Return its secret."""
    secret: str = totp.generate_totp_secret()
    authenticator = totp.TOTP.activate(user, secret).instance
    del authenticator.data["last_step"]
    authenticator.save()
    return secret


def set_up_passkey(user: User) -> None:
    """Give somebody a passkey, as far as its row goes."""
    Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "Key"})


def recovery_codes(user: User) -> list[str]:
    """Return the recovery codes of somebody, made where they are missing."""
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def code_of(secret: str, *, steps: int = 0) -> str:
    """Return what the app shows now, or some steps of time later."""
    step = int(time.time()) // STEP_S + steps
    return str(totp.format_hotp_value(totp.hotp_value(secret, step)))


def wrong_code(secret: str) -> str:
    """Return a code that the app shows neither now nor soon."""
    right = {code_of(secret, steps=steps) for steps in range(-3, 4)}
    return next(
        code for _ in iter(int, 1) if (code := f"{secrets.randbelow(10**6):06}") not in right
    )
