"""The door of the admin: no staff come in who still owe a second factor (STAFF_MFA)."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.decorators import secure_admin_login
from allauth.account.utils import get_next_redirect_url
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts import second_factor
from accounts.models import User

View = Callable[..., HttpResponse]


def guard(site: AdminSite) -> None:
    """Let people in by the login page alone, which has the rate limits and the second factor.

    The admin's own form would go round both.
    """
    site.login = secure_admin_login(_asking_for_factor(site.login))  # type: ignore[method-assign]
    may_enter = site.has_permission

    def has_permission(request: HttpRequest) -> bool:
        return may_enter(request) and not _owes(request)

    site.has_permission = has_permission  # type: ignore[method-assign]


def _owes(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and second_factor.is_owed(request, request.user)


def _asking_for_factor(login: View) -> View:
    @wraps(login)
    def ask_first(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if isinstance(request.user, User) and second_factor.is_owed(request, request.user):
            return _ask_for_factor(request, request.user)
        return login(request, *args, **kwargs)

    return ask_first


def _ask_for_factor(request: HttpRequest, user: User) -> HttpResponse:
    if not second_factor.is_on(user):
        messages.warning(request, _("Staff need two-step login here. Set it up, then go on."))
        return redirect("mfa_index")
    methods = get_adapter().get_reauthentication_methods(user)
    page = next(each["url"] for each in methods if each["id"].startswith("mfa_reauthenticate"))
    after = get_next_redirect_url(request) or reverse("admin:index")
    return redirect(f"{page}?{urlencode({'next': after})}")
