"""Reward rules, decisions and the ledger in the admin site. History is shown, not edited."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from events.admin import ReadOnlyAdmin
from points.models import Entry, PointsAccount, ProcessedEvent, RewardDecision, RewardRule
from points.rewards import FROZEN_FIELDS


@admin.register(RewardRule)
class RewardRuleAdmin(admin.ModelAdmin[RewardRule]):
    """The terms of rewards. What was used is frozen but for its end; add a version instead."""

    list_display = (
        "kind",
        "version",
        "points",
        "cap_total",
        "cap_per_period",
        "period_days",
        "hold_days",
        "expires_days",
        "active_from",
        "active_until",
    )
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


class PersonalAdmin(ReadOnlyAdmin):
    """Rows about people. Search takes a whole id, of the row or a user, or a whole address."""

    people: tuple[str, ...] = ("user",)  # paths to the users a row is about
    search_help_text = _("Id of the row or a user, or e-mail address; whole")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows found by index: no scan, however many there are."""
        term = search_term.strip()
        return (queryset.filter(self._matches(term)) if term else queryset), False

    def _matches(self, term: str) -> Q:
        try:
            wanted = UUID(term)
        except ValueError:
            return _any({f"{person}__email": term.lower() for person in self.people})
        return _any(dict.fromkeys(("pk", *self.people), wanted))


def _any(lookups: dict[str, Any]) -> Q:
    return Q(**lookups, _connector=Q.OR)


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


@admin.register(ProcessedEvent)
class ProcessedEventAdmin(ReadOnlyAdmin):
    """The events this app has applied."""

    list_display = ("event_id", "receiver", "target", "processed_at")
    search_fields = ("event_id",)
    search_help_text = _("Event id, whole")
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows of one event, found by index."""
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(event_id=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False
