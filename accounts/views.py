"""Pages of accounts: invite link, sign-up, closing. Others are allauth's with our templates."""

from datetime import timedelta
from typing import Any, cast

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.views import EmailView as AllauthEmailView
from allauth.account.views import SignupView as AllauthSignupView
from allauth.mfa.webauthn.views import LoginWebAuthnView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

import codes
from accounts import emails, limits, names, queries, second_factor, services, terms
from accounts.closing import CloseReason, close_account
from accounts.consents import Channel
from accounts.forms import ClosingForm, NameForm, SignupForm
from accounts.invitations import Invitation, look_up
from accounts.models import REFERRAL_CODE_LENGTH, User
from accounts.services import ReferralReason

INVITATION_COOKIE = "invitation"
INVITATION_MAX_AGE_S = 30 * 24 * 60 * 60
SENT_AGAIN_WITHIN = timedelta(minutes=10)  # later it is somebody who forgot about the account
_MALFORMED = "-"  # remembered instead of a code that nobody can have

REFERRAL_SENTENCES = {
    ReferralReason.UNKNOWN_CODE: gettext_lazy(
        "You are registered. The invitation code is not one we know, so nobody was credited."
    ),
    ReferralReason.INVITER_INACTIVE: gettext_lazy(
        "You are registered. The invitation can't be used any more, so nobody was credited."
    ),
    ReferralReason.SELF_REFERRAL: gettext_lazy(
        "You are registered. An invitation of your own can't be credited to you."
    ),
}


@require_safe
@never_cache
def invite(request: HttpRequest, code: str) -> HttpResponse:
    """Remember who invited this browser and lead to sign-up. A later link replaces an earlier."""
    if request.user.is_authenticated:
        messages.info(request, _("You have an account. Invitations are for people without one."))
        return redirect(settings.LOGIN_REDIRECT_URL)
    remembered = codes.normalize(code)
    if not codes.is_well_formed(remembered, REFERRAL_CODE_LENGTH):
        remembered = _MALFORMED
    response = redirect("account_signup")
    # A cookie, not a session: following a link writes nothing to the database.
    response.set_signed_cookie(
        INVITATION_COOKIE,
        remembered,
        max_age=INVITATION_MAX_AGE_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Answer a page request beyond a rate limit (the URL configuration's handler429)."""
    seconds = limits.longest_wait(request)
    response = render(request, "accounts/too_many_requests.html", {"seconds": seconds}, status=429)
    response["Retry-After"] = str(seconds)
    return response


@never_cache
@login_required
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Lead to everything a person can change about the account."""
    context = {"has_second_factor": second_factor.is_on(cast(User, request.user))}
    return render(request, "account/index.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def name(request: HttpRequest) -> HttpResponse:
    """Ask by which name a person invites others, and store it."""
    user = cast(User, request.user)
    form = NameForm(request.POST or None, initial={"display_name": user.display_name})
    if request.method != "POST" or not form.is_valid():
        if user.is_name_taken_off and not form.is_bound:
            messages.warning(request, names.TAKEN_OFF)
        return render(request, "account/name.html", {"form": form})
    try:
        names.set_name(user_id=user.pk, name=form.cleaned_data["display_name"])
    except ValidationError as refusal:
        form.add_error("display_name", refusal)
        return render(request, "account/name.html", {"form": form})
    messages.success(request, _("Your name is saved."))
    return redirect(settings.LOGIN_REDIRECT_URL)


@require_safe
def document(request: HttpRequest, which: terms.Document) -> HttpResponse:
    """Show the terms or the privacy notice; where the site has its own page, lead there."""
    url = terms.url_of(which)
    if url != request.path:
        return redirect(url)
    context = {"text": terms.text_of(which), "which": which, "version": settings.TERMS_VERSION}
    return render(request, "accounts/document.html", context)


@login_required
@require_POST
def agree(request: HttpRequest) -> HttpResponse:
    """Record that a person agrees to the terms that count now."""
    user = cast(User, request.user)
    try:
        given = terms.agreed(Channel.PAGE, shown=request.POST.get("terms_version"))
    except terms.Outdated:
        given = None
    if given is None:
        messages.warning(request, _("The terms have changed once more. Have a look at them."))
        return redirect(settings.LOGIN_REDIRECT_URL)
    terms.agree(user=user, given=given, language=get_language() or user.language)
    messages.success(request, _("Thank you. You have agreed to the terms."))
    return redirect(settings.LOGIN_REDIRECT_URL)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def close(request: HttpRequest) -> HttpResponse:
    """Say what closing the account means, and close it for whoever types its password."""
    if not limits.consume(request, "login"):  # as guessing passwords is limited there
        return too_many_requests(request)
    form = ClosingForm(request.POST or None, request=request)
    if not form.is_valid():
        return render(request, "account/close.html", {"form": form})
    user_id = cast(User, request.user).pk
    close_account(user_id=user_id, reason=CloseReason.REQUESTED, actor=user_id)
    logout(request)
    messages.success(request, _("Your account is closed."))
    return redirect("landing")


@never_cache
@login_required
@require_safe
def export(request: HttpRequest) -> HttpResponse:
    """Hand out everything that is kept of the person who asks, as a file."""
    document = queries.export_account(cast(User, request.user).pk)
    headers = {"Content-Disposition": 'attachment; filename="usher-account.json"'}
    options = {"indent": 2, "ensure_ascii": False}
    return JsonResponse(document, json_dumps_params=options, headers=headers)


class SignUpView(AllauthSignupView):  # type: ignore[misc]  # allauth is not typed
    """allauth's sign-up page, with the invitation that led here filled in."""

    def get_initial(self) -> dict[str, Any]:
        """Fill in the code of an invitation that may be usable."""
        initial: dict[str, Any] = super().get_initial()
        if self.invitation and self.invitation.is_usable:
            initial["referral_code"] = self.invitation.code
        return initial

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Say whose invitation led here, whether it can be used, and what is agreed to."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        invitation = self.invitation
        if invitation and context["form"].is_bound and not invitation.is_in(self.request.POST):
            invitation = None  # the person took the code out, or typed another one
        return {**context, "invitation": invitation, "terms_version": settings.TERMS_VERSION}

    def form_valid(self, form: SignupForm) -> HttpResponse:
        """Register. What the service refuses is shown in the form; what was typed is kept."""
        try:
            response: HttpResponse = super().form_valid(form)
        except (services.EmailTaken, ValidationError) as refusal:
            return self._refuse(form, refusal)
        self._tell_about_referral(form.registration)
        response.delete_cookie(INVITATION_COOKIE, samesite="Lax")
        return response

    @cached_property
    def invitation(self) -> Invitation | None:
        """What the last invite link that this browser followed is worth, or None."""
        code: str | None = self.request.get_signed_cookie(
            INVITATION_COOKIE, default="", max_age=INVITATION_MAX_AGE_S
        )
        return look_up(self.request, code) if code else None

    def _refuse(self, form: SignupForm, refusal: Exception) -> HttpResponse:
        if isinstance(refusal, ValidationError):
            form.add_service_errors(refusal.error_dict)
        elif (again := self._log_in(form)) is not None:
            return again
        else:
            form.add_error("email", get_adapter().validation_error("email_taken"))
        response: HttpResponse = self.form_invalid(form)
        return response

    def _log_in(self, form: SignupForm) -> HttpResponse | None:
        """Log in whoever signed up with this password a moment ago, and sent the form again.

        By a second click, Back or a reload, or because no answer came.
        """
        typed = form.cleaned_data
        credentials = {"email": emails.fold_email(typed["email"]), "password": typed["password1"]}
        try:
            user = get_adapter().authenticate(self.request, **credentials)
        except ValidationError:  # too many failed attempts
            return None
        if user is None or timezone.now() - user.created_at > SENT_AGAIN_WITHIN:
            return None
        login = Login(user=user, email=credentials["email"])
        answer: HttpResponse = perform_password_login(self.request, credentials, login)
        if self.request.user.is_authenticated:  # and is not asked for anything more
            messages.info(self.request, _("You have signed up already, and are logged in."))
        answer.delete_cookie(INVITATION_COOKIE, samesite="Lax")
        return answer

    def _tell_about_referral(self, registration: services.Registration | None) -> None:
        # Where addresses are confirmed first, known and new ones must look the same.
        if registration is None or services.verification_is_mandatory():
            return
        if registration.referral_reason in REFERRAL_SENTENCES:
            sentence = REFERRAL_SENTENCES[registration.referral_reason]
            messages.warning(self.request, sentence)


class PasskeyLoginView(LoginWebAuthnView):  # type: ignore[misc]  # allauth is not typed
    """allauth's login with a passkey, whose challenges are limited: each is kept in a session."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return a challenge to a script, and lead anybody else to the login page."""
        if not limits.consume(request, "login", count_get=True):
            return too_many_requests(request)
        answer: HttpResponse = super().get(request, *args, **kwargs)
        return answer


class EmailView(AllauthEmailView):  # type: ignore[misc]  # allauth is not typed
    """allauth's page of a person's addresses."""

    def _action_primary(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Make another address the one to log in with, unless an account has it already."""
        try:
            with transaction.atomic():
                return super()._action_primary(request, *args, **kwargs)
        except IntegrityError:
            messages.error(request, _("This address belongs to another account."))
            return None
