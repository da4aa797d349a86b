"""What on-call does on the monitor's pages: each press is signed with a reason, and on record."""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from events.interventions import Intervention, InterventionKind
from events.models import ReceiverState
from events.operations import staged
from events.operations.freezing import (
    AlreadyUnderWay,
    HasGrown,
    NoSuchGroup,
    NothingToFreeze,
    Shown,
    freeze_group,
)
from events.operations.intervention import pause_receiver, resume_receiver
from events.operations.pausing import UnknownReceiver
from events.operations.signature import REASON_LENGTH
from project.support import READ, REPLAY, RESUME, SKIP, InterventionForm, page_of_staff

Decide = Callable[..., bool]


@page_of_staff(*READ, RESUME)
@require_POST
def pause(request: HttpRequest, name: str) -> HttpResponse:
    """Pause a receiver."""
    return _steer(request, name, pause_receiver, _("The receiver is paused."))


@page_of_staff(*READ, RESUME)
@require_POST
def resume(request: HttpRequest, name: str) -> HttpResponse:
    """Let a paused receiver run again."""
    return _steer(request, name, resume_receiver, _("The receiver runs again."))


@page_of_staff(*READ, REPLAY)
@require_POST
def begin_replay(request: HttpRequest, name: str) -> HttpResponse:
    """Freeze what was shown of a cause, and replay it: one first, then ten, then all."""
    return _begin(request, InterventionKind.REPLAY, name)


@page_of_staff(*READ, SKIP)
@require_POST
def begin_skip(request: HttpRequest, name: str) -> HttpResponse:
    """Freeze what was shown of a cause, and give it up."""
    return _begin(request, InterventionKind.SKIP, name)


@page_of_staff(*READ)
@require_POST
def go_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Go on with an intervention that something has stopped."""
    return _decide(request, pk, staged.go_on, _("It goes on."))


@page_of_staff(*READ)
@require_POST
def give_up(request: HttpRequest, pk: int) -> HttpResponse:
    """Touch nothing more of an intervention's set."""
    return _decide(request, pk, staged.abandon, _("It is given up: the rest stays as it is."))


def _steer(
    request: HttpRequest, name: str, service: Callable[..., ReceiverState], done: str
) -> HttpResponse:
    reason = _reason(request)
    if reason:
        try:
            service(name, by=request.user, reason=reason)
        except UnknownReceiver:
            raise Http404 from None
        messages.success(request, done)
    return redirect("monitor-receiver", name)


def _begin(request: HttpRequest, kind: InterventionKind, name: str) -> HttpResponse:
    fingerprint = request.POST.get("fingerprint", "")
    reason = _reason(request)
    query = urlencode({"fingerprint": fingerprint})
    group = f"{reverse('monitor-failures', args=[name])}?{query}"
    if not reason:
        return redirect(group)
    shown = _shown(request)
    try:
        begun = freeze_group(
            kind,
            receiver=name,
            fingerprint=fingerprint,
            shown=shown,
            by=request.user,
            reason=reason,
        )
    except AlreadyUnderWay as refusal:
        messages.warning(request, _("This is under way already: here it is."))
        begun = refusal.intervention
    except HasGrown:
        messages.warning(request, _("More have died of this meanwhile. Look again, then decide."))
        return redirect(group)
    except NoSuchGroup:
        raise Http404 from None
    except NothingToFreeze:
        messages.warning(request, _("Nothing was done: none of them is dead any more."))
        return redirect("monitor")
    return redirect("monitor-intervention", begun.pk)


def _decide(request: HttpRequest, pk: int, decide: Decide, done: str) -> HttpResponse:
    found = get_object_or_404(Intervention, pk=pk)
    right = SKIP if found.kind == InterventionKind.SKIP else REPLAY
    if not request.user.has_perm(right):
        raise PermissionDenied
    reason = _reason(request)
    if reason and decide(pk, by=request.user, reason=reason):
        messages.success(request, done)
    elif reason:
        messages.warning(request, _("Nothing was done: it has moved on meanwhile."))
    return redirect("monitor-intervention", pk)


def _reason(request: HttpRequest) -> str:
    """Return the reason; an empty one, and a message about it, where it is none."""
    form = InterventionForm(request.POST)
    if form.is_valid():
        reason: str = form.cleaned_data["reason"]
        return reason
    said = _("Say why, in at most %(limit)d characters.") % {"limit": REASON_LENGTH}
    messages.error(request, said)
    return ""


def _shown(request: HttpRequest) -> Shown:
    """Return what the page said that it shows. Raises BadRequest where no page of ours sent it."""
    at, count = _time(request.POST.get("at", "")), request.POST.get("count", "")
    if at is None or not (count.isascii() and count.isdigit() and len(count) < 10):
        raise BadRequest("The page did not say what it shows.")
    return Shown(count=int(count), at=at)


def _time(text: str) -> datetime | None:
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    return at if at and at.tzinfo else None
