"""Campaigns, decisions and coupons in the admin site. History is shown, not edited."""

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

import codes
from coupons.benefits import BENEFIT_FIELDS
from coupons.display import describe_benefit
from coupons.funnel import Steps, days_of, funnels_of
from coupons.models import (
    CODE_LENGTH,
    Campaign,
    CampaignStatusChange,
    Coupon,
    IssueDecision,
    ProcessedEvent,
)
from coupons.states import CouponState, EffectiveStatus, coupon_state, effective_status
from events.admin import PersonalAdmin, ProcessedEventAdmin

FUNNEL_DAYS = 14  # shown of a campaign


class StatusChangeInline(admin.TabularInline[CampaignStatusChange, Campaign]):
    """When the campaign took which status."""

    model = CampaignStatusChange
    fields = ("status", "changed_at")
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: saving the campaign adds them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: they are history."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: they are history."""
        return False


@admin.register(Campaign)
class CampaignAdmin(admin.ModelAdmin[Campaign]):
    """Marketing plans campaigns here."""

    list_display = (
        "name",
        "current_status",
        "trigger",
        "audience",
        "benefit",
        "starts_at",
        "ends_at",
        "issued_count",
        "stock",
    )
    list_filter = ("status", "trigger", "audience")
    search_fields = ("name",)
    show_full_result_count = False
    readonly_fields = ("id", "issued_count", "created_at", "funnel")
    inlines: ClassVar = [StatusChangeInline]
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("id", "name", "description", "terms", "status")}),
        (_("Who and when"), {"fields": ("trigger", "audience", "starts_at", "ends_at")}),
        (_("Benefit"), {"fields": BENEFIT_FIELDS}),
        (_("Validity"), {"fields": ("valid_from", "valid_until", "valid_days", "time_zone")}),
        (_("Stock"), {"fields": ("stock", "issued_count", "created_at")}),
        (_("Result"), {"fields": ("funnel",)}),
    )

    @admin.display(description=_("status"), ordering="status")
    def current_status(self, campaign: Campaign) -> str:
        """Return what the campaign is right now."""
        return str(EffectiveStatus(effective_status(campaign, at=timezone.now())).label)

    @admin.display(description=_("benefit"))
    def benefit(self, campaign: Campaign) -> str:
        """Return what a coupon is worth."""
        return describe_benefit(campaign)

    @admin.display(description=_("funnel"))
    def funnel(self, campaign: Campaign) -> str:
        """Return how far people got, in all and on the latest days."""
        total = funnels_of([campaign.pk])[campaign.pk]
        in_all = _("%(decided)d people decided, %(steps)s") % {
            "decided": total.decided,
            "steps": _sentence(total.steps),
        }
        since = timezone.now().date() - timedelta(days=FUNNEL_DAYS)
        days = [(f"{d.day}: {_sentence(d.steps)}",) for d in days_of(campaign.pk, since=since)]
        return format_html_join(mark_safe("<br>"), "{}", [(in_all,), *reversed(days)])

    def get_readonly_fields(
        self, request: HttpRequest, obj: Campaign | None = None
    ) -> tuple[str, ...]:
        """Freeze the benefit once coupons hold copies of it."""
        frozen = BENEFIT_FIELDS if obj and obj.issued_count else ()
        return (*self.readonly_fields, *frozen)

    def has_delete_permission(self, request: HttpRequest, obj: Campaign | None = None) -> bool:
        """Allow it for one campaign at a time that has decided nothing. Others are archived."""
        if obj is None or obj.decisions.exists():
            return False
        return super().has_delete_permission(request, obj)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Campaign | None:
        """Return the campaign, locked where it is about to be saved: coupons may be going out."""
        campaign = super().get_object(request, object_id, from_field)
        if campaign is None or request.method != "POST":
            return campaign
        return Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)


def _sentence(steps: Steps) -> str:
    counts = {"issued": steps.issued, "refused": steps.refused, "used": steps.used}
    return _("%(issued)d issued, %(refused)d refused, %(used)d used") % counts


@admin.register(IssueDecision)
class IssueDecisionAdmin(PersonalAdmin):
    """Who got a coupon, who did not, and why."""

    list_display = ("id", "user", "campaign", "outcome", "reason", "decided_at")
    list_filter = ("outcome", "reason", "campaign")
    list_select_related = ("user", "campaign")
    search_fields = ("user__email",)


@admin.register(Coupon)
class CouponAdmin(PersonalAdmin):
    """The coupons that people hold."""

    list_display = ("code", "user", "campaign", "benefit", "state", "valid_from", "valid_until")
    list_filter = ("status", "campaign")
    list_select_related = ("user", "campaign")
    search_fields = ("user__email",)
    search_help_text = _("Code, id of the coupon or the user, or e-mail address; whole")

    @admin.display(description=_("state"), ordering="status")
    def state(self, coupon: Coupon) -> str:
        """Return what the coupon is to its owner right now."""
        return str(CouponState(coupon_state(coupon, at=timezone.now())).label)

    @admin.display(description=_("benefit"))
    def benefit(self, coupon: Coupon) -> str:
        """Return what the coupon is worth."""
        return describe_benefit(coupon)

    def find(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows of a code, an id or an address."""
        code = codes.normalize(term)
        if codes.is_well_formed(code, CODE_LENGTH):
            return queryset.filter(code=code)
        return super().find(queryset, term)


admin.site.register(ProcessedEvent, ProcessedEventAdmin)
