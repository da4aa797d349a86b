"""Campaigns, decisions and coupons in the admin site. History is shown, not edited."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

import codes
from coupons.benefits import BENEFIT_FIELDS
from coupons.bulk_issues import RowOutcome
from coupons.bulk_issuing import progress_of
from coupons.campaign_pages import CampaignPages
from coupons.display import describe_benefit, format_money
from coupons.funnel import Steps, days_of, funnels_of
from coupons.models import (
    CODE_LENGTH,
    BulkIssue,
    BulkIssueRow,
    Campaign,
    CampaignStatusChange,
    Coupon,
    IssueDecision,
    ProcessedEvent,
    Redemption,
)
from coupons.states import CouponState, EffectiveStatus, coupon_state, effective_status
from events.admin import PersonalAdmin, ProcessedEventAdmin
from events.staff_lists import KnownValuesFilter, ReadOnlyInline, any_of, ids_of

DEFAULT_TIME_ZONE = "UTC"
REFRESH_S = 3
FUNNEL_DAYS = 14  # shown of a campaign
LISTS_TO_CHOOSE = 20  # bulk issues


class StatusChangeInline(ReadOnlyInline):
    """When the campaign took which status: its services add them."""

    model = CampaignStatusChange
    fields = ("status", "changed_at", "changed_by")
    show_change_link = False


@admin.register(Campaign)
class CampaignAdmin(CampaignPages):
    """Marketing plans campaigns here. The form's times are those of the campaign's time zone."""

    list_display = (
        "name",
        "current_status",
        "trigger",
        "audience",
        "benefit",
        "starts_at",
        "ends_at",
        "issued_of_stock",
    )
    list_filter = ("status", "trigger", "audience")
    search_fields = ("name",)
    sortable_by = ("name", "current_status", "starts_at", "ends_at", "issued_of_stock")
    readonly_fields = ("id", "status", "issued_count", "created_at", "funnel")
    inlines: ClassVar = [StatusChangeInline]
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("id", "name", "description", "terms", "status")}),
        (
            _("Who and when"),
            {
                "fields": ("trigger", "audience", "time_zone", "starts_at", "ends_at"),
                "description": _("All times on this page are those of the campaign's time zone."),
            },
        ),
        (_("Benefit"), {"fields": BENEFIT_FIELDS}),
        (_("Validity"), {"fields": ("valid_from", "valid_until", "valid_days")}),
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

    @admin.display(description=_("issued / stock"), ordering="issued_count")
    def issued_of_stock(self, campaign: Campaign) -> str:
        """Return how many coupons are issued, of how many."""
        return f"{campaign.issued_count} / {'∞' if campaign.stock is None else campaign.stock}"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show and read times in the campaign's time zone; offer what can be done with it."""
        campaign = super().get_object(request, unquote(object_id)) if object_id else None
        context = {"buttons": self.buttons_of(request, campaign) if campaign else []}
        with timezone.override(_time_zone_of(request, campaign)):
            answer = super().changeform_view(
                request, object_id, form_url, {**context, **(extra_context or {})}
            )
            if isinstance(answer, TemplateResponse):
                answer.render()  # now: later, the time zone would be another one
        return answer

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


def _time_zone_of(request: HttpRequest, campaign: Campaign | None) -> ZoneInfo:
    """Return the zone that the form's times are in: what is sent says so itself."""
    known = campaign.time_zone if campaign else DEFAULT_TIME_ZONE
    name = request.POST.get("time_zone", known)
    return ZoneInfo(name if name in available_timezones() else DEFAULT_TIME_ZONE)


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


@admin.register(Redemption)
class RedemptionAdmin(PersonalAdmin):
    """The orders that coupons were used for."""

    list_display = ("order_ref", "coupon", "owner", "amount_off", "created_at", "rolled_back_at")
    list_filter = (("rolled_back_at", admin.EmptyFieldListFilter),)
    list_select_related = ("coupon__user",)
    search_fields = ("order_ref",)
    search_help_text = _("Order, coupon code, id of the redemption or a user, or address; whole")

    @admin.display(description=_("owner"))
    def owner(self, redemption: Redemption) -> str:
        """Return whose coupon it was."""
        return str(redemption.coupon.user)

    @admin.display(description=_("discount"), ordering="discount")
    def amount_off(self, redemption: Redemption) -> str:
        """Return what was taken off."""
        return format_money(redemption.discount, redemption.currency).strip()

    def find(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows of an order, a code, an id or an address."""
        ids, code = ids_of(term), codes.normalize(term)
        coupons = Coupon.objects.filter(Q(user__in=ids) | Q(code=code)).values_list("pk", flat=True)
        lookups = {"pk__in": ids, "redeemed_by__in": ids, "order_ref": term}
        return queryset.filter(any_of(lookups | {"coupon__in": list(coupons)}))


@admin.register(BulkIssue)
class BulkIssueAdmin(PersonalAdmin):
    """Lists of people who were to get coupons, and how far each has come."""

    people = ("requested_by",)
    list_display = ("campaign", "requested_by", "created_at", "progress", "finished_at")
    list_select_related = ("campaign", "requested_by")
    search_fields = ("requested_by__email",)
    fields = (
        "campaign",
        "requested_by",
        "created_at",
        "total",
        "progress",
        "outcomes",
        "finished_at",
        "lines",
    )
    readonly_fields = ("progress", "outcomes", "lines")

    @admin.display(description=_("progress"))
    def progress(self, bulk_issue: BulkIssue) -> str:
        """Return how many lines were reached."""
        left = bulk_issue.rows.filter(outcome="").count() if bulk_issue.finished_at is None else 0
        return f"{bulk_issue.total - left} / {bulk_issue.total}"

    @admin.display(description=_("outcomes"))
    def outcomes(self, bulk_issue: BulkIssue) -> str:
        """Return how many lines came to what."""
        counts = progress_of(bulk_issue)
        return ", ".join(f"{RowOutcome(name).label}: {counts[name]}" for name in sorted(counts))

    @admin.display(description=_("lines"))
    def lines(self, bulk_issue: BulkIssue) -> str:
        """Return a link to the results of each line."""
        address = reverse("admin:coupons_bulkissuerow_changelist")
        query = f"bulk_issue__id__exact={bulk_issue.pk}"
        return format_html('<a href="{}?{}">{}</a>', address, query, _("Results by line"))

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        """Show a list that is being worked off anew every few seconds."""
        answer = super().change_view(request, object_id, *args, **kwargs)
        context = getattr(answer, "context_data", None) or {}
        if (bulk_issue := context.get("original")) and bulk_issue.finished_at is None:
            answer["Refresh"] = str(REFRESH_S)
        return answer


class BulkIssueFilter(KnownValuesFilter):
    """The lines of one of the latest lists; of others, by the link on their pages."""

    title = _("bulk issue")
    parameter_name = "bulk_issue__id__exact"

    def values(self) -> Iterable[tuple[UUID, str]]:
        """Return the latest lists."""
        latest = BulkIssue.objects.select_related("campaign").order_by("-pk")[:LISTS_TO_CHOOSE]
        return [(each.pk, f"{each.campaign} {each.created_at:%Y-%m-%d %H:%M}") for each in latest]


@admin.register(BulkIssueRow)
class BulkIssueRowAdmin(PersonalAdmin):
    """What came of each line."""

    list_display = ("line", "user", "given", "outcome", "reason")
    list_filter = ("outcome", BulkIssueFilter)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("bulk_issue", "line")


admin.site.register(ProcessedEvent, ProcessedEventAdmin)
