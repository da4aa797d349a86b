"""The sessions of a person: to be seen, to be ended, and to be forgotten when they are over."""

from typing import Any, cast

from allauth.core import context
from allauth.usersessions.forms import ManageUserSessionsForm
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django import forms
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from accounts import browsers
from accounts.models import User
from events.operations.chunks import delete_in_chunks

_LIMIT = 50  # sessions of an account: a login beyond it ends the oldest
_ALIVE = Session.objects.filter(pk=OuterRef("session_key"))


class EndSessionsForm(ManageUserSessionsForm):  # type: ignore[misc]  # allauth is not typed
    """One session to end, or none named: all but the one that asks."""

    session = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def save(self, request: HttpRequest) -> None:
        """End it, or them."""
        user = cast(User, request.user)
        theirs = UserSession.objects.filter(user=user)
        if self.cleaned_data["session"] is not None:
            theirs = theirs.filter(pk=self.cleaned_data["session"])
        end_sessions(request, [each for each in theirs if not each.is_current()])


@method_decorator(never_cache, name="dispatch")
class SessionsView(ListUserSessionsView):  # type: ignore[misc]  # allauth is not typed
    """Where a person is logged in, the latest first."""

    form_class = EndSessionsForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Say in words which browser each is."""
        # A session may be older than the list.
        UserSession.objects.create_from_request(self.request)
        context: dict[str, Any] = super().get_context_data(**kwargs)
        for session in context["sessions"]:
            session.browser = browsers.describe(session.user_agent)
        return {**context, "sessions": list(reversed(context["sessions"]))}


def list_session(*, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Add the session of a login to the person's, in the place of allauth's receiver.

    allauth's opens every other one, to see whether it is over.
    """
    theirs = UserSession.objects.filter(user=user)
    too_many = theirs.order_by("-created_at", "-pk").values("session_key")[_LIMIT - 1 :]
    Session.objects.filter(pk__in=too_many).delete()
    theirs.filter(~Exists(_ALIVE)).delete()
    UserSession.objects.create_from_request(request)


def forget_other_sessions(user_id: Any) -> None:
    """End every session of an account but that of the present request, if one is being answered."""
    session = getattr(context.request, "session", None)
    forget_sessions(user_id, but=session.session_key if session else None)


def forget_sessions(user_id: Any, *, but: str | None = None) -> None:
    """End every session of an account that is known, and forget where it was logged in.

    `but` is the key of one that stays.
    """
    theirs = UserSession.objects.filter(user=user_id).exclude(session_key=but or "")
    Session.objects.filter(pk__in=list(theirs.values_list("session_key", flat=True))).delete()
    theirs.delete()


def forget_ended_sessions() -> None:
    """Delete sessions whose time is over, and the addresses and browsers they came from.

    Called daily. It takes them in chunks and may be stopped anywhere.
    """
    delete_in_chunks(Session.objects.filter(expire_date__lt=timezone.now()))
    delete_in_chunks(UserSession.objects.filter(~Exists(_ALIVE)))
