"""What a campaign comes to, in the admin: on its page, and on one for any period."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

import charts
from coupons.campaigns import Campaign, Trigger
from coupons.figures import Figures, figures_of
from coupons.funnel import funnels_of
from events.staff_lists import StaffAdmin
from periods import period_of, usual_periods


class CampaignFigures(StaffAdmin[Campaign]):
    """Adds the page, and the funnel on the campaign's own."""

    def get_urls(self) -> list[URLPattern]:
        """Return the address of the page, before those of the admin."""
        view = self.admin_site.admin_view(require_safe(self.figures_page))
        page = path("<path:object_id>/figures/", view, name="coupons_campaign_figures")
        return [page, *super().get_urls()]

    @admin.display(description=_("funnel"))
    def funnel(self, campaign: Campaign) -> SafeString:
        """Return how far people got, in all. A campaign that is being made has nobody."""
        if campaign._state.adding:
            return mark_safe("–")
        total = funnels_of([campaign.pk])[campaign.pk]
        context = _funnel_of(campaign, total) | {"campaign": campaign}
        return render_to_string("coupons/funnel.html", context)

    def figures_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show how far people got in a period, in all and day by day."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        campaign = admin.ModelAdmin.get_object(self, request, unquote(object_id))
        if campaign is None:
            raise Http404
        today = timezone.now().astimezone(ZoneInfo(campaign.time_zone)).date()
        period, form = period_of(request.GET.dict(), today)
        figures = figures_of(campaign, period)
        context = {
            **self.admin_site.each_context(request),
            **_funnel_of(campaign, figures),
            "title": _("Figures"),
            "opts": self.opts,
            "original": campaign,
            "back": reverse("admin:coupons_campaign_change", args=[campaign.pk]),
            "form": form,
            "period": period,
            "periods": usual_periods(today),
            "days": list(reversed(figures.days)),
            "drawing": charts.by_day(_series(figures)),
            "series": [(1, _("issued")), (2, _("redeemed"))],
        }
        return TemplateResponse(request, "coupons/figures.html", context)


def _funnel_of(campaign: Campaign, total: Any) -> dict[str, Any]:
    """Return the bars of a funnel, and what happened beside it. It takes a Funnel or Figures."""
    first = _("named by staff") if campaign.trigger == Trigger.MANUAL else _("registered")
    steps = total.steps
    bars = charts.funnel(
        [(first, total.decided), (_("issued"), steps.issued), (_("redeemed"), steps.used)]
    )
    beside = [(_("refused"), steps.refused), (_("redemptions undone"), steps.rolled_back)]
    return {"bars": bars, "beside": beside}


def _series(figures: Figures) -> list[tuple[date, list[int]]]:
    return [(each.day, [each.steps.issued, each.steps.redeemed]) for each in figures.days]
