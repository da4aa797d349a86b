"""The forms of signing up and logging in, which look like allauth's, and of closing an account."""

from collections.abc import Mapping
from typing import Any, cast

from allauth.account import forms as allauth_forms
from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.signup import prevent_enumeration
from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts import emails, limits, names, services, terms
from accounts.consents import Channel
from accounts.models import NAME_LENGTH, User

TERMS_CHANGED = _(
    "The terms have changed while this page was open. Have a look at them, then sign up again."
)
WRONG_PASSWORD = _("This is not your password.")

# The service's names for what is typed, and this form's.
FIELD_NAMES = {"email": "email", "password": "password1"}


class SignupForm(allauth_forms.SignupForm):  # type: ignore[misc]  # allauth is not typed
    """E-mail address, password (once) and the code of whoever invited the person."""

    email = forms.CharField(
        max_length=emails.MAX_LENGTH,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        error_messages={"required": _("Enter your e-mail address.")},
    )
    referral_code = forms.CharField(
        required=False,
        label=_("Invitation code (optional)"),
        help_text=_("If someone invited you, their code goes here."),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}
        ),
    )
    field_order = ("email", "password1", "referral_code")

    # What `try_save` did; None where it did nothing that may be told.
    registration: services.Registration | None = None
    agreed: terms.Agreed | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_address(self.fields["email"])
        self.fields["password1"].error_messages["required"] = _("Choose a password.")
        _guide(self.fields["password1"])

    def validate_unique_email(self, value: str) -> str:
        """Leave it to the service, which must not answer known addresses any faster."""
        return value

    def clean(self) -> dict[str, Any]:
        """Refuse an agreement to terms that changed while the page was open.

        The page says which it showed; what does not say so agrees to nothing. Not a
        field: shown again, it says what counts by then.
        """
        cleaned: dict[str, Any] = super().clean()
        try:
            self.agreed = terms.agreed(Channel.PAGE, shown=self.data.get("terms_version"))
        except terms.Outdated:
            self.add_error(None, forms.ValidationError(TERMS_CHANGED, code="terms_outdated"))
        return cleaned

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """Register. Returns the user, or the answer that does not tell a known address.

        Raises EmailTaken where it may be told.
        """
        try:
            self.registration = services.register(
                email=self.cleaned_data["email"],
                password=self.cleaned_data["password1"],
                referral_code=self.cleaned_data["referral_code"],
                language=get_language() or "",
                agreed=self.agreed,
                client=limits.client_of(request),
            )
        except services.EmailTaken:
            if not services.verification_is_mandatory():
                raise
            return None, prevent_enumeration(request, email=self.cleaned_data["email"])
        return self.registration.user, None

    def add_service_errors(self, errors: dict[str, Any]) -> None:
        """Show what the service refused beside the fields it speaks of."""
        for name, error in errors.items():
            self.add_error(FIELD_NAMES.get(name), error)


class LoginForm(allauth_forms.LoginForm):  # type: ignore[misc]  # allauth is not typed
    """E-mail address and password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_address(self.fields["login"])
        self.fields["password"].widget.attrs.pop("placeholder", None)


class AddEmailForm(allauth_forms.AddEmailForm):  # type: ignore[misc]
    """Another e-mail address of whoever is logged in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_address(self.fields["email"])


class ChangePasswordForm(allauth_forms.ChangePasswordForm):  # type: ignore[misc]
    """Another password, by whoever knows the one that counts now."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].label = _("Current password")
        self.fields["oldpassword"].widget.attrs.pop("placeholder", None)
        _ask_for_new_password(self.fields)


class SetPasswordForm(allauth_forms.SetPasswordForm):  # type: ignore[misc]
    """A password for an account that has none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_new_password(self.fields)


class ResetPasswordKeyForm(allauth_forms.ResetPasswordKeyForm):  # type: ignore[misc]
    """Another password, by whoever followed the link in a mail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_new_password(self.fields)


class ResetPasswordForm(allauth_forms.ResetPasswordForm):  # type: ignore[misc]
    """The e-mail address of whoever forgot the password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _ask_for_address(self.fields["email"])


def _ask_for_address(field: forms.Field) -> None:
    """Call it on every page what the sign-up calls it, once."""
    field.label = _("E-mail address")
    field.widget.attrs.pop("placeholder", None)


def _ask_for_new_password(fields: Mapping[str, forms.Field]) -> None:
    fields["password1"].label = _("New password")
    fields["password2"].label = _("New password, once more")
    fields["password2"].widget.attrs.pop("placeholder", None)
    _guide(fields["password1"])


def _guide(field: forms.Field) -> None:
    """Say in one sentence what a password must be; the label says the rest."""
    field.help_text = _(
        "At least %(least)d, at most %(most)d characters. Common ones are refused, and those that "
        "resemble your address."
    ) % {"least": settings.PASSWORD_MIN_LENGTH, "most": settings.PASSWORD_MAX_LENGTH}
    field.widget.attrs.pop("placeholder", None)


class NameForm(forms.Form):
    """The name by which the people whom somebody invites know them."""

    display_name = forms.CharField(
        label=_("Your name"),
        required=False,
        help_text=_("A first name is enough. Leave it empty, and nobody is named."),
        widget=forms.TextInput(attrs={"autocomplete": "given-name", "maxlength": NAME_LENGTH}),
    )

    def clean_display_name(self) -> str:
        """Return the name as it is stored."""
        return names.clean_name(self.cleaned_data["display_name"])


class ClosingForm(forms.Form):
    """The password that says that it is really the owner who closes an account."""

    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        max_length=settings.PASSWORD_MAX_LENGTH,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": _("Enter your password.")},
    )

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_password(self) -> str:
        """Refuse any other password than that of whoever is logged in."""
        password: str = self.cleaned_data["password"]
        user = cast(User, self.request.user)
        # It refuses with a sentence of its own after too many wrong ones.
        found = get_adapter().authenticate(self.request, email=user.email, password=password)
        if found != user:
            raise forms.ValidationError(WRONG_PASSWORD, code="wrong_password")
        return password
