"""What on-call looks at: all receivers, one of them, failures of one cause, an intervention."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from events.delivery.clock import database_now
from events.interventions import Intervention, InterventionKind
from events.models import Attempt
from events.operations import staged
from events.operations.bounded import MOST
from events.operations.failure_groups import dead_of, failure_group, failure_groups
from events.operations.glance import glance
from events.operations.retrying import retrying_of
from events.operations.signature import REASON_LENGTH
from project.monitor.shown import (
    dashboard,
    latest_first,
    periods,
    progress_of,
    receiver_rows,
    up_to,
)
from project.support import READ, REPLAY, RESUME, SKIP, TRACE, page_of_staff

LOOK_AFTER_S = 5  # how often an open page asks
LOOK_AFTER_WHILE_UNDERWAY_S = 1
SHOWN = 20  # deliveries

View = Callable[..., HttpResponse]


def part_of_page(view: View) -> View:
    """Decorate what an open page asks for: 403 where its reader may not look any more."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not admin.site.has_permission(request) or not request.user.has_perms(READ):
            return HttpResponseForbidden()
        return view(request, *args, **kwargs)

    return never_cache(guarded)


@page_of_staff(*READ)
@require_safe
def monitor(request: HttpRequest) -> HttpResponse:
    """Show all receivers, what fails, queues and workers."""
    return _page(request, "monitor/dashboard.html", _("Event monitor"), _of_all())


@part_of_page
@require_safe
def monitor_parts(request: HttpRequest) -> HttpResponse:
    """Return the dashboard's parts as they are now."""
    return render(request, "monitor/dashboard_parts.html", _of_all())


@page_of_staff(*READ)
@require_safe
def receiver(request: HttpRequest, name: str) -> HttpResponse:
    """Show one receiver."""
    context = _of_receiver(name)
    title = _("Receiver %(name)s") % {"name": name}
    return _page(request, "monitor/receiver.html", title, context)


@part_of_page
@require_safe
def receiver_parts(request: HttpRequest, name: str) -> HttpResponse:
    """Return a receiver's parts as they are now."""
    return render(request, "monitor/receiver_parts.html", _of_receiver(name))


@page_of_staff(*READ)
@require_safe
def failures(request: HttpRequest, name: str) -> HttpResponse:
    """Show what fails of one cause; what is dead, to be replayed or skipped as it is shown."""
    at = database_now()  # before the count: what dies in between is not shown, and not frozen
    group = failure_group(name, request.GET.get("fingerprint", ""))
    if group is None:
        return _page(request, "monitor/no_failures.html", _("Failures"), {"name": name})
    may_trace = request.user.has_perm(TRACE)
    context = {
        "group": group,
        "count": min(group.count, MOST),
        "counted": up_to(group.count),
        "retrying": up_to(group.retrying),
        "affected": up_to(group.affected),
        "at": at.isoformat(),
        "may_trace": may_trace,
        "attempt": _last_attempt(group.sample_id) if may_trace else None,
        "deliveries": dead_of(group.receiver, group.fingerprint)[:SHOWN],
        "next_tried": retrying_of(group.receiver, group.fingerprint)[:SHOWN],
        "underway": Intervention.objects.filter(
            receiver=group.receiver, fingerprint=group.fingerprint, ended_at__isnull=True
        ).first(),
    }
    return _page(request, "monitor/failures.html", _("Failures of one cause"), context)


@page_of_staff(*READ)
@require_safe
def intervention(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how far an intervention has come, and what can be said to it."""
    context = _of_intervention(request, pk)
    return _page(
        request, "monitor/intervention.html", _("Intervention %(id)d") % {"id": pk}, context
    )


@part_of_page
@require_safe
def intervention_parts(request: HttpRequest, pk: int) -> HttpResponse:
    """Return an intervention's parts as they are now."""
    return render(request, "monitor/intervention_parts.html", _of_intervention(request, pk))


def _page(request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> HttpResponse:
    may = {
        "replay": request.user.has_perm(REPLAY),
        "skip": request.user.has_perm(SKIP),
        "pause": request.user.has_perm(RESUME),
    }
    common = {"title": title, "may": may, "reason_length": REASON_LENGTH, "most": MOST}
    return render(request, template, {**admin.site.each_context(request), **common, **context})


def _of_all() -> dict[str, Any]:
    return {"now": dashboard(), "look_after": LOOK_AFTER_S}


def _of_receiver(name: str) -> dict[str, Any]:
    seen = next((each for each in glance() if each.receiver == name), None)
    if seen is None:
        raise Http404
    (row,) = receiver_rows([seen])
    return {
        "receiver": row,
        "groups": latest_first(failure_groups(name)),
        "periods": periods(name),
        "look_after": LOOK_AFTER_S,
    }


def _of_intervention(request: HttpRequest, pk: int) -> dict[str, Any]:
    found = get_object_or_404(Intervention, pk=pk)
    progress = progress_of(found)
    right = SKIP if found.kind == InterventionKind.SKIP else REPLAY
    return {
        "progress": progress,
        "failed": staged.failed_again(found)[:SHOWN],
        "may_decide": request.user.has_perm(right),
        "reason_length": REASON_LENGTH,
        "look_after": LOOK_AFTER_WHILE_UNDERWAY_S if progress.is_open else None,
    }


def _last_attempt(delivery_id: int) -> Attempt | None:
    return Attempt.objects.filter(delivery=delivery_id).order_by("-pk").first()
