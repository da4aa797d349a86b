"""Accounts and what belongs to them in the admin site. History is shown, not edited."""

from typing import Any

import allauth.account.admin  # noqa: F401
import knox.admin  # noqa: F401
from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from knox.models import AuthToken

from accounts import services
from accounts.models import AccountStatus, Referral, User
from events.admin import ReadOnlyAdmin

# allauth and knox have registered theirs when they are imported above, before they are discovered.
admin.site.unregister([EmailAddress, AuthToken])

_RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]  # generic in stubs only
    """Set somebody's password, or take it away."""

    def save(self, commit: bool = True) -> User:
        """Do it as everywhere, which ends the account's tokens."""
        usable = self.cleaned_data["set_usable_password"]
        password = self.cleaned_data["password1"] if usable else None
        user: User = self.user
        services.set_password(user=user, password=password)
        return user


@admin.register(User)
class UserAdmin(DjangoUserAdmin[User]):
    """Support looks accounts up here; people register themselves and accounts are never deleted."""

    list_display = ("email", "status", "registered_at", "is_active", "is_staff")
    list_filter = ("status", "is_active", "is_staff", "language")
    search_fields = ("email", "email_canonical", "referral_code")
    ordering = ("-created_at",)
    show_full_result_count = False
    readonly_fields = (
        "id",
        "email",
        "email_canonical",
        "referral_code",
        "status",
        "created_at",
        "registered_at",
        "closed_at",
        "last_login",
    )
    fieldsets = (
        (None, {"fields": ("id", "email", "email_canonical", "password", "language")}),
        (_("State"), {"fields": ("status", "is_active", "referral_code")}),
        (_("Times"), {"fields": ("created_at", "registered_at", "last_login", "closed_at")}),
        (_("Permissions"), {"fields": _RIGHTS}),
    )
    change_password_form = PasswordForm

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Closing is final, and only superusers give rights."""
        fields = tuple(super().get_readonly_fields(request, obj))
        if obj is not None and obj.status == AccountStatus.CLOSED:
            fields += ("is_active",)
        return fields if _is_superuser(request) else fields + _RIGHTS

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Leave accounts of staff, and their passwords, to superusers: they carry rights."""
        allowed = super().has_change_permission(request, obj)
        if obj is None or _is_superuser(request):
            return allowed
        return allowed and not (obj.is_staff or obj.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: people register, and staff are made by `createsuperuser` or promoted."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Refuse: events, coupons and points refer to accounts."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Write only what was edited: the rest of the account may change meanwhile."""
        columns = {field.name for field in obj._meta.concrete_fields}
        obj.save(update_fields=columns.intersection(form.changed_data))


@admin.register(Referral)
class ReferralAdmin(ReadOnlyAdmin):
    """Who invited whom, and what was decided."""

    list_display = ("invitee", "inviter", "status", "created_at", "decided_at")
    list_filter = ("status",)
    list_select_related = ("invitee", "inviter")
    search_fields = ("invitee__email", "inviter__email", "code_used")
    ordering = ("-created_at",)
    actions = None


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdmin):
    """Whose addresses are confirmed: only links do that, which complete a sign-up, too."""

    list_display = ("email", "user", "primary", "verified")
    list_filter = ("primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email",)
    ordering = ("-pk",)
    actions = None


@admin.register(AuthToken)
class AuthTokenAdmin(ReadOnlyAdmin):
    """Who has API tokens. A new password ends them."""

    list_display = ("user", "created", "expiry")
    list_display_links = None  # the address of its page would be the stored hash
    list_select_related = ("user",)
    fields = ("user", "created", "expiry")
    search_fields = ("user__email",)
    ordering = ("-created",)
    actions = None


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser
