"""What inviting people comes to, in the admin, for any period."""

from datetime import UTC, date
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

import charts
from events.staff_lists import StaffAdmin
from periods import period_of, usual_periods
from points.figures import Figures, figures_of
from points.rewards import RewardRule


class InviteFigures(StaffAdmin[RewardRule]):
    """Adds the page, and what leads there from the rules: all at once, or the time of one."""

    change_list_template = "admin/points/rewardrule/change_list.html"
    change_form_template = "admin/points/rewardrule/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        """Return the address of the page, before those of the admin."""
        view = self.admin_site.admin_view(require_safe(self.figures_page))
        return [path("figures/", view, name="points_rewardrule_figures"), *super().get_urls()]

    def figures_page(self, request: HttpRequest) -> HttpResponse:
        """Show how far invited people got in a period, in all and day by day."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        today = timezone.now().astimezone(UTC).date()
        period, form = period_of(request.GET.dict(), today)
        figures = figures_of(period)
        context = {
            **self.admin_site.each_context(request),
            **_funnel_of(figures),
            "title": _("Figures of inviting"),
            "opts": self.opts,
            "back": reverse("admin:points_rewardrule_changelist"),
            "form": form,
            "period": period,
            "periods": usual_periods(today),
            "days": list(reversed(figures.days)),
            "drawing": charts.by_day(_series(figures)),
            "series": [(1, _("registered")), (2, _("rewarded"))],
        }
        return TemplateResponse(request, "points/figures.html", context)


def _funnel_of(figures: Figures) -> dict[str, Any]:
    funnel = figures.funnel
    return {
        "bars": charts.funnel(
            [
                (_("invited"), figures.invited),
                (_("registered"), funnel.registered),
                (_("rewarded"), funnel.rewarded),
            ]
        ),
        "beside": [
            (_("refused"), funnel.refused),
            (_("taken back"), funnel.taken_back),
            (_("points, without what was taken back"), funnel.points),
        ],
    }


def _series(figures: Figures) -> list[tuple[date, list[int]]]:
    return [(each.day, [each.funnel.registered, each.funnel.rewarded]) for each in figures.days]
