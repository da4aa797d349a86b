"""What may be typed: text that can be stored as typed, and passwords of a stated length."""

import re
from typing import Any

from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

# A form decoder puts U+FFFD where bytes were not UTF-8: the stored password would be another one
# than the one typed. NUL and lone surrogates cannot be stored in PostgreSQL at all.
_NOT_AS_TYPED = re.compile("[\x00\ufffd\ud800-\udfff]")


def validate_intact(text: str) -> None:
    """Refuse text that did not arrive as it was typed."""
    if _NOT_AS_TYPED.search(text):
        raise ValidationError(
            _("This contains characters that cannot be stored. Type it again without them."),
            code="invalid_characters",
        )


def validate_new_password(password: str, user: Any) -> None:
    """Refuse a password that is not intact, or that AUTH_PASSWORD_VALIDATORS refuse for `user`.

    Raises ValidationError with one error per reason.
    """
    if not password:
        raise ValidationError(_("Choose a password."), code="required")
    validate_intact(password)
    MaximumLengthValidator().validate(password)  # alone: comparing a megabyte with names is costly
    validate_password(password, user)


class MinimumLengthValidator(password_validation.MinimumLengthValidator):
    """Django's, whose refusal is not translated into Chinese."""

    def get_error_message(self) -> str:
        """Return the refusal as a sentence."""
        sentence = ngettext(
            "This password is too short. It must contain at least %(min_length)d character.",
            "This password is too short. It must contain at least %(min_length)d characters.",
            self.min_length,
        )
        return sentence % {"min_length": self.min_length}


class MaximumLengthValidator:
    """Refuse a password over `max_length` characters (PASSWORD_MAX_LENGTH by default).

    Passwords are never cut, so the limit is stated and only keeps hashing affordable.
    """

    def __init__(self, max_length: int | None = None) -> None:
        self.max_length = max_length or settings.PASSWORD_MAX_LENGTH

    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError (password_too_long) where the password is longer."""
        if len(password) > self.max_length:
            raise ValidationError(
                self._sentence(), code="password_too_long", params={"limit": self.max_length}
            )

    def get_help_text(self) -> str:
        """Return the rule as a sentence for the form."""
        return self._sentence() % {"limit": self.max_length}

    def _sentence(self) -> str:
        return ngettext(
            "Your password can have at most %(limit)d character.",
            "Your password can have at most %(limit)d characters.",
            self.max_length,
        )
