"""Accounts and referrals in the admin site. History is shown, not edited."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import Referral, User
from events.admin import ReadOnlyAdmin


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
        (_("Permissions"), {"fields": ("is_staff", "is_superuser", "groups", "user_permissions")}),
    )

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
