"""allauth's hooks and forms of the second factor: sealed secrets, our words, codes that count once.

What a second factor means is in `second_factor`.
"""

from typing import Any

import segno
from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.base import forms as base_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp_forms
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from allauth.mfa.webauthn import forms as webauthn_forms
from django import forms
from django.urls import reverse
from django.utils import translation
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import second_factor
from accounts.models import User
from sealing import Sealer

PRODUCT = "Usher"
_sealer = Sealer("accounts.mfa")


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth is not typed
    """What Usher does differently from allauth."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "add_email_blocked": gettext_lazy(
            "With two-step login no address can be added. Turn it off, change your address, then "
            "turn it on again."
        ),
        "cannot_generate_recovery_codes": gettext_lazy(
            "Recovery codes come with two-step login. Set that up first."
        ),
        "incorrect_code": gettext_lazy("This code is not right, or it was used before."),
        "unverified_email": gettext_lazy(
            "Confirm your e-mail address first: without it nobody could help you if you lost the "
            "second step."
        ),
    }

    def encrypt(self, text: str) -> str:
        """Return a secret as it is stored."""
        return _sealer.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return a stored secret. Raises sealing.Unreadable."""
        return _sealer.unseal(encrypted_text)

    def build_totp_svg(self, url: str) -> str:
        """Return the QR code of the set-up: dark on light in every colour scheme."""
        code = segno.make_qr(url, error="m")
        svg = code.svg_inline(omitsize=True, border=4, dark="#000", light="#fff", svgclass=None)
        return mark_safe(svg)  # noqa: S308  # drawn by us: the text is in it as squares only

    def generate_authenticator_name(self, user: User, type: str) -> str:
        """Return a name for a new passkey, to be changed by whoever adds it."""
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return _("Passkey %(number)d") % {"number": number}

    def _get_site_name(self) -> str:
        return PRODUCT


class _UsesCode(forms.Form):
    """Checks a code, and uses it up."""

    user: User

    def clean_code(self) -> str:
        """Refuse a code that is not right, was used before, or comes after too many wrong ones."""
        code: str = self.cleaned_data["code"]
        try:
            self.authenticator = second_factor.use_code(context.request, user=self.user, code=code)
        except second_factor.TooManyCodes:
            raise get_account_adapter().validation_error("too_many_login_attempts") from None
        except second_factor.WrongCode:
            raise get_adapter().validation_error("incorrect_code") from None
        return code


class AuthenticateForm(_UsesCode, base_forms.AuthenticateForm):  # type: ignore[misc]
    """The code that a login asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_code(self.fields["code"], gettext_lazy("Code of your app, or a recovery code"))


class ReauthenticateForm(_UsesCode, base_forms.ReauthenticateForm):  # type: ignore[misc]
    """The code that is asked for before something important."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_code(self.fields["code"], gettext_lazy("Code of your app, or a recovery code"))


class ActivateTOTPForm(totp_forms.ActivateTOTPForm):  # type: ignore[misc]
    """The first code of an app, which shows that it has the secret.

    The secret waits in the session, which is stored: sealed, not as allauth leaves it there.
    """

    secret: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        session = context.request.session
        has_waited = SECRET_SESSION_KEY in session
        super().__init__(*args, **kwargs)
        if self.is_bound and has_waited:
            self.secret = _sealer.unseal(self.secret)
        session[SECRET_SESSION_KEY] = _sealer.seal(self.secret)
        _ask_for_code(self.fields["code"], gettext_lazy("The code that the app shows"))


class AddWebAuthnForm(webauthn_forms.AddWebAuthnForm):  # type: ignore[misc]
    """A new passkey and its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_name(self.fields["name"])
        # Asked for in any case: it is what lets a key log in alone.
        self.fields["passwordless"].widget = forms.HiddenInput()
        self.initial["passwordless"] = True


class EditWebAuthnForm(webauthn_forms.EditWebAuthnForm):  # type: ignore[misc]
    """Another name for a passkey."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_name(self.fields["name"])


def tell_of_removal(user: User) -> None:
    """Write to somebody whose second factors were taken off by staff, in their language."""
    found = {"password_reset_url": reverse("account_reset_password")}
    with translation.override(user.language):
        get_account_adapter(context.request).send_mail("mfa/email/taken_off", user.email, found)


def _ask_for_code(field: forms.Field, label: Any) -> None:
    field.label = label
    field.error_messages["required"] = gettext_lazy("Enter the code.")
    field.widget.attrs = {
        "autocomplete": "one-time-code",
        "inputmode": "numeric",
        "spellcheck": "false",
        "autofocus": True,
    }


def _ask_for_name(field: forms.Field) -> None:
    field.label = gettext_lazy("Name of the passkey")
    field.help_text = gettext_lazy("Such as the device it is kept on.")
    field.widget.attrs = {"autocomplete": "off", "maxlength": "60"}
