"""Reward rules, decisions and the ledger in the admin site. History is shown, not edited."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from events.admin import PersonalAdmin, ProcessedEventAdmin
from points.models import Entry, PointsAccount, ProcessedEvent, RewardDecision, RewardRule
from points.rewards import FROZEN_FIELDS


@admin.register(RewardRule)
class RewardRuleAdmin(admin.ModelAdmin[RewardRule]):
    """The terms of rewards. What was used is frozen but for its end; add a version instead."""

    list_display = (*FROZEN_FIELDS, "active_until")
    list_filter = ("kind",)
    readonly_fields = ("id", "created_at")
    show_full_result_count = False

    def get_readonly_fields(
        self, request: HttpRequest, obj: RewardRule | None = None
    ) -> tuple[str, ...]:
        """Freeze the terms once a decision was made by them."""
        frozen = FROZEN_FIELDS if obj and obj.decisions.exists() else ()
        return (*self.readonly_fields, *frozen)

    def has_delete_permission(self, request: HttpRequest, obj: RewardRule | None = None) -> bool:
        """Allow it for one rule at a time that was never used."""
        if obj is None or obj.decisions.exists():
            return False
        return super().has_delete_permission(request, obj)


@admin.register(RewardDecision)
class RewardDecisionAdmin(PersonalAdmin):
    """Who was rewarded for whom, who was not, and why."""

    people = ("inviter", "invitee")
    list_display = ("id", "inviter", "invitee", "outcome", "reason", "points", "decided_at")
    list_filter = ("outcome", "reason", "rule_kind")
    list_select_related = ("inviter", "invitee")
    search_fields = ("inviter__email", "invitee__email")


@admin.register(PointsAccount)
class PointsAccountAdmin(PersonalAdmin):
    """What people have."""

    list_display = ("user", "balance", "pending", "lifetime_earned", "frozen_at", "closed_at")
    list_filter = (
        ("frozen_at", admin.EmptyFieldListFilter),
        ("closed_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("-pk",)


@admin.register(Entry)
class EntryAdmin(PersonalAdmin):
    """The ledger, newest first."""

    people = ("account__user",)
    list_display = (
        "id",
        "account_user",
        "kind",
        "amount",
        "balance_after",
        "reason",
        "expires_at",
        "occurred_at",
    )
    list_filter = ("kind",)
    list_select_related = ("account__user",)
    search_fields = ("account__user__email",)

    @admin.display(description=_("user"))
    def account_user(self, entry: Entry) -> str:
        """Return whose entry it is."""
        return str(entry.account.user)


admin.site.register(ProcessedEvent, ProcessedEventAdmin)
