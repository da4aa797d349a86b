"""Pages of the admin for whoever answers "I got no coupon": look up, read why, mend it."""

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from events.models import Delivery, Event
from events.operations.explain import story_of_event, story_of_person
from events.operations.intervention import (
    WrongState,
    replay_delivery,
    resume_receiver,
    skip_delivery,
)
from events.operations.pausing import UnknownReceiver
from events.operations.signature import REASON_LENGTH
from events.operations.story import Person, Story, UnknownSubject
from events.operations.tellers import find_person
from events.operations.timeline import timeline_of
from events.operations.trouble import NOTHING
from events.operations.verdict import verdict_on

READ = ("events.view_event", "events.view_delivery")
READ_PERSON = (*READ, "accounts.view_user")
REPLAY, SKIP, RESUME = "events.replay_delivery", "events.skip_delivery", "events.pause_receiver"
TRACE = "events.view_attempt"  # what an error says and where it came from may tell of people

View = Callable[..., HttpResponse]


class LookUpForm(forms.Form):
    """Whom or what to look up."""

    wanted = forms.CharField(
        label=gettext_lazy("E-mail address, or id of an account or event"),
        max_length=254,
        widget=forms.TextInput(
            attrs={"autofocus": True, "autocomplete": "off", "spellcheck": "false", "size": 44}
        ),
    )


class InterventionForm(forms.Form):
    """Why somebody intervenes; kept with what they changed."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=REASON_LENGTH)


def page_of_staff(*rights: str) -> Callable[[View], View]:
    """Decorate a page of the admin that needs permissions: 403 without, and the login before."""

    def decorate(view: View) -> View:
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perms(rights):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return cast(View, admin.site.admin_view(never_cache(guarded)))

    return decorate


@page_of_staff(*READ)
@require_http_methods(["GET", "HEAD", "POST"])
def look_up(request: HttpRequest) -> HttpResponse:
    """Ask whom or what to look up, and lead there. The address stays out of addresses and logs."""
    form = LookUpForm(request.POST or None)
    if form.is_valid():
        place = _place_of(request, form.cleaned_data["wanted"])
        if place:
            return redirect(place)
        form.add_error("wanted", _not_found(request, form.cleaned_data["wanted"]))
    context = {**admin.site.each_context(request), "title": _("Support"), "form": form}
    return render(request, "project/support.html", context)


@page_of_staff(*READ_PERSON)
@require_safe
def person(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Tell the story of an account."""
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise Http404
    story = story_of_person(Person(key=str(user_id), name=_("Account %(id)s") % {"id": user_id}))
    return _story_page(request, story, {"account": user})


@page_of_staff(*READ)
@require_safe
def event(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """Tell the story of an event."""
    try:
        story = story_of_event(event_id)
    except UnknownSubject:
        raise Http404 from None
    return _story_page(request, story, {"event": Event.objects.get(event_id=event_id)})


@page_of_staff(REPLAY)
@require_POST
def replay(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """Make a delivery due now."""
    done = _("The delivery is due now. This page shows how it goes.")
    return _intervene(request, done, lambda why: _on(replay_delivery, delivery_id, request, why))


@page_of_staff(SKIP)
@require_POST
def skip(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """Give a delivery up."""
    done = _("The delivery is given up; what waited behind it goes on.")
    return _intervene(request, done, lambda why: _on(skip_delivery, delivery_id, request, why))


@page_of_staff(RESUME)
@require_POST
def resume(request: HttpRequest, name: str) -> HttpResponse:
    """Let a paused receiver run again."""

    def act(reason: str) -> None:
        try:
            resume_receiver(name, by=request.user, reason=reason)
        except UnknownReceiver:
            raise Http404 from None

    return _intervene(request, _("The receiver runs again."), act)


def _place_of(request: HttpRequest, wanted: str) -> str | None:
    """Return the address of the page about what was typed, or None."""
    may_see_people = request.user.has_perm("accounts.view_user")
    if "@" in wanted:
        try:
            key = find_person(wanted).key if may_see_people else None
        except UnknownSubject:
            key = None
        return reverse("support-person", args=[key]) if key else None
    try:
        id_ = UUID(wanted)
    except ValueError:
        return None
    if Event.objects.filter(event_id=id_).exists():
        return reverse("support-event", args=[id_])
    if may_see_people and User.objects.filter(pk=id_).exists():
        return reverse("support-person", args=[id_])
    return None


def _not_found(request: HttpRequest, wanted: str) -> str:
    if "@" in wanted and not request.user.has_perm("accounts.view_user"):
        return _("You may not look accounts up. Ask for the id of an event.")
    if "@" in wanted:
        return _("Nobody has this e-mail address. Is it spelled right?")
    return _("No account and no event has this id. Ids are given whole.")


def _story_page(request: HttpRequest, story: Story, about: dict[str, Any]) -> HttpResponse:
    verdict = verdict_on(story)
    context = {
        **admin.site.each_context(request),
        **about,
        "title": story.name,
        "story": story,
        "verdict": verdict,
        "do": [] if verdict.do == str(NOTHING) else _in_pieces(verdict.do),
        "timeline": timeline_of(story),
        "looks_again": verdict.state == "underway",
        "may": {
            "replay": request.user.has_perm(REPLAY),
            "skip": request.user.has_perm(SKIP),
            "resume": request.user.has_perm(RESUME),
            "trace": request.user.has_perm(TRACE),
        },
        "reason_length": REASON_LENGTH,
    }
    return render(request, "project/support_story.html", context)


def _in_pieces(text: str) -> list[tuple[str, bool]]:
    """Return a sentence in pieces; those that were between backticks are commands."""
    return [(piece, number % 2 == 1) for number, piece in enumerate(text.split("`")) if piece]


def _intervene(request: HttpRequest, done: str, act: Callable[[str], None]) -> HttpResponse:
    """Do what a button says, tell how it went, and go back to where it stood."""
    form = InterventionForm(request.POST)
    if not form.is_valid():
        messages.error(
            request, _("Say why, in at most %(limit)d characters.") % {"limit": REASON_LENGTH}
        )
        return _back(request)
    try:
        act(form.cleaned_data["reason"])
    except WrongState as error:
        state = error.delivery.get_state_display()
        messages.warning(request, _("Nothing was done: it is %(state)s by now.") % {"state": state})
    else:
        messages.success(request, done)
    return _back(request)


def _on(service: Callable[..., Delivery], delivery_id: int, request: HttpRequest, why: str) -> None:
    try:
        service(delivery_id, by=request.user, reason=why)
    except Delivery.DoesNotExist:
        raise Http404 from None


def _back(request: HttpRequest) -> HttpResponseRedirect:
    back = request.POST.get("back", "")
    own = url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return redirect(back if own else reverse("support"))
