"""Reward rules, decisions and the ledger in the admin site. History is shown, not edited."""

from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import Max, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from accounts.queries import accounts_by_id
from events.admin import PersonalAdmin, ProcessedEventAdmin
from events.staff_lists import StaffAdmin
from points import refusals
from points.corrections import MAX_REASON_LENGTH, adjust
from points.models import Entry, PointsAccount, ProcessedEvent, RewardDecision, RewardRule
from points.rewards import FROZEN_FIELDS


@admin.register(RewardRule)
class RewardRuleAdmin(StaffAdmin[RewardRule]):
    """The terms of rewards. What was used is frozen but for its end; add a version instead."""

    list_display = (
        "kind",
        "version",
        "points",
        "cap_total",
        "cap_per_period",
        "period_days",
        "active_from",
        "active_until",
    )
    list_filter = ("kind",)
    sortable_by = ("kind", "version", "active_from", "active_until")
    readonly_fields = ("id", "created_at")
    actions = ("new_version",)

    @admin.action(description=_("New version of the selected rule"), permissions=["add"])
    def new_version(
        self, request: HttpRequest, queryset: QuerySet[RewardRule]
    ) -> HttpResponse | None:
        """Open the form of a new rule, filled in with the terms of this one. Nothing is saved."""
        if len(queryset) != 1:
            self.message_user(request, _("Choose one rule."), messages.ERROR)
            return None
        rule = queryset[0]
        latest = RewardRule.objects.filter(kind=rule.kind).aggregate(latest=Max("version"))
        terms = {name: getattr(rule, name) for name in FROZEN_FIELDS if name != "active_from"}
        terms["version"] = (latest["latest"] or 0) + 1
        given = {name: value for name, value in terms.items() if value is not None}
        return HttpResponseRedirect(f"{reverse('admin:points_rewardrule_add')}?{urlencode(given)}")

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


class AdjustForm(forms.Form):
    """How many points, and why. Sent twice, it counts once."""

    amount = forms.IntegerField(
        label=_("Points"),
        min_value=-refusals.MAX_AMOUNT,
        max_value=refusals.MAX_AMOUNT,
        help_text=_("Negative to take some off; the balance does not go below zero."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON_LENGTH,
        help_text=_("Its owner sees it in their history."),
    )
    key = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)


@admin.register(PointsAccount)
class PointsAccountAdmin(PersonalAdmin):
    """What people have."""

    change_form_template = "points/account_change_form.html"

    list_display = ("user", "balance", "pending", "lifetime_earned", "frozen_at", "closed_at")
    list_filter = (
        ("frozen_at", admin.EmptyFieldListFilter),
        ("closed_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("-pk",)

    def get_urls(self) -> list[URLPattern]:
        """Add the page on which points are adjusted."""
        view = self.admin_site.admin_view(self.adjust_view)
        adjusting = path("<uuid:user_id>/adjust/", view, name="points_pointsaccount_adjust")
        return [adjusting, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the account, with a link to adjust it where this member of staff may."""
        context = {"may_adjust": request.user.has_perm("points.adjust_points")}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def adjust_view(self, request: HttpRequest, user_id: UUID) -> HttpResponse:
        """Ask how many points and why, then adjust."""
        if not request.user.has_perm("points.adjust_points"):
            raise PermissionDenied
        if user_id not in accounts_by_id([user_id]):
            raise Http404
        # Whoever never had points has no account yet: the first entry makes it.
        account = PointsAccount.objects.filter(pk=user_id).first() or PointsAccount(pk=user_id)
        form = AdjustForm(request.POST or None)
        if form.is_valid() and self._adjust(request, account, form):
            return HttpResponseRedirect(
                reverse("admin:points_pointsaccount_change", args=[user_id])
            )
        context = {
            **self.admin_site.each_context(request),
            "title": _("Adjust points"),
            "opts": self.opts,
            "original": account,
            "back": self._page_of(account),
            "form": form,
        }
        return TemplateResponse(request, "points/adjust.html", context)

    def _page_of(self, account: PointsAccount) -> str:
        """Return the account's page, or the person's where there is no account yet."""
        page = "accounts_user_change" if account._state.adding else "points_pointsaccount_change"
        return reverse(f"admin:{page}", args=[account.pk])

    def _adjust(self, request: HttpRequest, account: PointsAccount, form: AdjustForm) -> bool:
        """Adjust, and write it into the admin's history; a refusal goes into the form."""
        given, actor_id = form.cleaned_data, cast(UUID, request.user.pk)
        try:
            entry = adjust(user_id=account.pk, actor_id=actor_id, **given)
        except refusals.Refused as refusal:
            form.add_error(None, str(refusal))
            return False
        text = _("%(points)+d points. The balance is %(balance)d.")
        numbers = {"points": entry.amount, "balance": entry.balance_after}
        self.message_user(request, text % numbers, messages.SUCCESS)
        message = f"Adjusted by {entry.amount:+d}: {entry.reason}"
        LogEntry.objects.log_actions(actor_id, [account], CHANGE, message)
        return True


@admin.register(Entry)
class EntryAdmin(PersonalAdmin):
    """The ledger, newest first."""

    people = ("account",)  # its key is the user's
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
