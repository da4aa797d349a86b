"""How people log in, in the admin site: allauth's and knox's tables, to read only."""

from typing import Any

import allauth.account.admin
import allauth.mfa.admin
import allauth.usersessions.admin  # noqa: F401
import knox.admin  # noqa: F401
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _
from knox.models import AuthToken

from accounts.browsers import describe
from events.admin import PersonalAdmin
from events.staff_lists import ids_of

# allauth and knox have registered theirs when they are imported above, before they are discovered.
admin.site.unregister([EmailAddress, Authenticator, UserSession, AuthToken])


@admin.register(EmailAddress)
class EmailAddressAdmin(PersonalAdmin):
    """Whose addresses are confirmed: only links do that, which complete a sign-up, too."""

    list_display = ("email", "user", "primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email",)
    ordering = ("-pk",)
    actions = None

    def find(self, queryset: QuerySet[EmailAddress], term: str) -> QuerySet[EmailAddress]:
        """Return an address, or those of an account."""
        return queryset.filter(Q(user__in=ids_of(term)) | Q(email=term.lower()))


class _LoginAdmin(PersonalAdmin):
    """Ways in, of a person."""

    search_fields = ("user",)
    search_help_text = _("Id of a user, or e-mail address; whole")

    def find(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(user__in=ids_of(term))


@admin.register(Authenticator)
class AuthenticatorAdmin(_LoginAdmin):
    """Who logs in with a second factor, and which; what proves it is shown to nobody."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    fields = ("user", "type", "created_at", "last_used_at")
    ordering = ("-pk",)
    actions = None


@admin.register(UserSession)
class UserSessionAdmin(_LoginAdmin):
    """Where people are logged in; the key that would let one in is shown to nobody."""

    list_display = ("user", "browser", "created_at", "last_seen_at")
    list_select_related = ("user",)
    fields = ("user", "browser", "created_at", "last_seen_at")
    ordering = ("-pk",)
    actions = None

    @admin.display(description=_("browser"))
    def browser(self, session: UserSession) -> str:
        """Return what it is used with, as far as it says so."""
        return describe(session.user_agent)


@admin.register(AuthToken)
class AuthTokenAdmin(_LoginAdmin):
    """Who has API tokens. A new password ends them."""

    list_display = ("user", "created", "expiry")
    list_display_links = None  # the address of its page would be the stored hash
    list_select_related = ("user",)
    fields = ("user", "created", "expiry")
    ordering = ("-created",)
    actions = None
