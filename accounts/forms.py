"""The sign-up form. It looks like allauth's and registers through our service."""

from typing import Any

from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.account.internal.flows.signup import prevent_enumeration
from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts import emails, limits, services
from accounts.models import User

# The service's names for what is typed, and this form's.
FIELD_NAMES = {"email": "email", "password": "password1"}


class SignupForm(AllauthSignupForm):  # type: ignore[misc]  # allauth is not typed
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = _("E-mail address")
        password = self.fields["password1"]
        password.error_messages["required"] = _("Choose a password.")
        password.widget.attrs.pop("placeholder", None)  # its label says it

    def validate_unique_email(self, value: str) -> str:
        """Leave it to the service, which must not answer known addresses any faster."""
        return value

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
