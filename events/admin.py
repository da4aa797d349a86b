"""The event log and its deliveries in the admin: to read, to replay or skip, never to edit."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.db.models import Q, QuerySet, UUIDField
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from events.models import Attempt, Delivery, DeliveryState, Event, ReceiverState
from events.operations.by_state import in_any_state, in_state
from events.operations.chunks import chunks
from events.operations.pausing import pause, resume
from events.operations.record import name_of, put_on_record
from events.operations.replay import replay_chosen
from events.operations.signature import REASON_LENGTH
from events.operations.skip import skip_chosen
from events.receivers import all_receivers
from events.signals import all_signals
from events.staff_lists import (
    FindsByIndex,
    KnownValuesFilter,
    ReadOnlyInline,
    StaffAdmin,
    any_of,
    ids_of,
)

SHOWN_IN_FORM = 20


class ReadOnlyAdmin(StaffAdmin[Any]):
    """Rows that are history: shown, searched, never changed here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


class PersonalAdmin(FindsByIndex, ReadOnlyAdmin):
    """Rows about people. Search takes a whole id, of the row or a user, or a whole address."""

    people: tuple[str, ...] = ("user",)  # the keys to the users a row is about
    search_help_text = _("Id of the row or a user, or e-mail address; whole")

    def find(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows of an id or an address."""
        key = self.opts.pk
        own = ("pk",) if isinstance(getattr(key, "target_field", key), UUIDField) else ()
        ids = ids_of(term)
        return queryset.filter(any_of({f"{name}__in": ids for name in (*own, *self.people)}))


class ProcessedEventAdmin(FindsByIndex, ReadOnlyAdmin):
    """The events an app has applied: for its concrete inbox."""

    list_display = ("event_id", "receiver", "target", "processed_at")
    search_fields = ("event_id",)
    search_help_text = _("Event id, whole")
    ordering = ("-id",)

    def find(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows of one event."""
        try:
            return queryset.filter(event_id=UUID(term))
        except ValueError:
            return queryset.none()


class TypeFilter(KnownValuesFilter):
    """Events of a declared type."""

    title = _("type")
    parameter_name = "type"

    def values(self) -> Iterable[tuple[str, str]]:
        """Return the types of this release."""
        return [(signal.type, signal.type) for signal in all_signals()]


class ReceiverFilter(KnownValuesFilter):
    """Deliveries to a receiver."""

    title = _("receiver")
    parameter_name = "receiver"

    def values(self) -> Iterable[tuple[str, str]]:
        """Return the receivers of this release."""
        return [(receiver.name, receiver.name) for receiver in all_receivers()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return its deliveries."""
        return in_any_state(super().queryset(request, queryset))


class StateFilter(KnownValuesFilter):
    """Deliveries in a state."""

    title = _("state")
    parameter_name = "state"

    def values(self) -> Iterable[tuple[str, Any]]:
        """Return the states."""
        return DeliveryState.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return those in the chosen state."""
        state = self.value()
        return in_state(super().queryset(request, queryset), state) if state else queryset


class _DeliveryInline(ReadOnlyInline):
    model = Delivery
    fields = ("receiver", "target", "state", "attempts", "due_at", "finished_at", "last_error")


class _AttemptInline(ReadOnlyInline):
    model = Attempt
    fields = ("number", "started_at", "ended_at", "error_class", "error_message", "release")


@admin.register(Event)
class EventAdmin(FindsByIndex, ReadOnlyAdmin):
    """The log, newest first."""

    list_display = ("event_id", "type", "version", "key", "occurred_at", "correlation_id")
    list_filter = (TypeFilter,)
    search_fields = ("event_id", "key", "correlation_id")
    search_help_text = _("Event id, key (a user's id) or correlation id, whole")
    ordering = ("-position",)
    inlines: ClassVar = [_DeliveryInline]

    def find(self, queryset: QuerySet[Event], term: str) -> QuerySet[Event]:
        """Return an event, or those of a key or of what belongs together."""
        named = Q(key=term) | Q(correlation_id=term)
        with suppress(ValueError):
            named |= Q(event_id=UUID(term))
        return queryset.filter(named)


@admin.register(Delivery)
class DeliveryAdmin(FindsByIndex, ReadOnlyAdmin):
    """What is owed to receivers."""

    list_display = ("id", "receiver", "type", "key", "state", "attempts", "due_at", "last_error")
    list_filter = (StateFilter, ReceiverFilter)
    search_fields = ("event", "key", "fingerprint")
    search_help_text = _("Event id, key (a user's id) or fingerprint, whole")
    ordering = ("-id",)
    raw_id_fields = ("event",)
    inlines: ClassVar = [_AttemptInline]
    actions = ("replay", "skip")

    def find(self, queryset: QuerySet[Delivery], term: str) -> QuerySet[Delivery]:
        """Return the deliveries of an event, of a key's events, or that failed in the same way."""
        failed_so = Attempt.objects.filter(fingerprint=term).values("delivery")
        if queryset.filter(pk__in=failed_so).exists():
            return queryset.filter(pk__in=failed_so)
        events = Event.objects.filter(key=term)
        with suppress(ValueError):
            events |= Event.objects.filter(event_id=UUID(term))
        return queryset.filter(event__in=events)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may replay."""
        return request.user.has_perm("events.replay_delivery")

    @admin.action(description=_("Replay the selected deliveries"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Put dead, skipped and done deliveries back."""
        chosen = list(queryset)  # the filter of the list may no longer match them afterwards
        count = replay_chosen(queryset)
        text = ngettext("%(count)d delivery replayed.", "%(count)d deliveries replayed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
        put_on_record(request.user, chosen, "Replayed")

    def has_skip_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may skip."""
        return request.user.has_perm("events.skip_delivery")

    @admin.action(description=_("Skip the selected deliveries"), permissions=["skip"])
    def skip(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> TemplateResponse | None:
        """Ask for a reason, then give the deliveries up."""
        form = reason_form(request)
        if not form.is_valid():
            return ask_for_reason(self, request, queryset, form, "skip", _("Skip deliveries"))
        chosen = queryset.count()
        skipped = skip_chosen(
            queryset, by=name_of(request.user), reason=form.cleaned_data["reason"]
        )
        text = ngettext(
            "%(count)d delivery skipped.", "%(count)d deliveries skipped.", len(skipped)
        )
        self.message_user(request, text % {"count": len(skipped)}, messages.SUCCESS)
        if chosen > len(skipped):
            self.message_user(
                request,
                _("%(count)d left as they are: running, or finished already.")
                % {"count": chosen - len(skipped)},
                messages.WARNING,
            )
        for ids in chunks(skipped):  # SQLite takes some 32,000 parameters in one statement
            put_on_record(
                request.user,
                Delivery.objects.filter(pk__in=ids),
                f"Skipped: {form.cleaned_data['reason']}",
            )
        return None


@admin.register(Attempt)
class AttemptAdmin(FindsByIndex, ReadOnlyAdmin):
    """Failed attempts, newest first."""

    list_display = ("delivery", "number", "ended_at", "error_class", "fingerprint", "release")
    list_select_related = ("delivery",)
    search_fields = ("fingerprint", "delivery")
    search_help_text = _("Event id or fingerprint, whole")
    ordering = ("-id",)

    def find(self, queryset: QuerySet[Attempt], term: str) -> QuerySet[Attempt]:
        """Return the failures of an event, or those of the same kind."""
        try:
            return queryset.filter(delivery__event__event_id=UUID(term))
        except ValueError:
            return queryset.filter(fingerprint=term)


@admin.register(ReceiverState)
class ReceiverStateAdmin(ReadOnlyAdmin):
    """The receivers that workers have met."""

    list_display = ("name", "first_seen_at", "paused_at", "paused_by", "pause_reason")
    actions = ("pause", "resume")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may pause and resume."""
        return request.user.has_perm("events.pause_receiver")

    @admin.action(description=_("Pause the selected receivers"), permissions=["pause"])
    def pause(
        self, request: HttpRequest, queryset: QuerySet[ReceiverState]
    ) -> TemplateResponse | None:
        """Ask for a reason, then pause those that run."""
        form = reason_form(request)
        if not form.is_valid():
            return ask_for_reason(self, request, queryset, form, "pause", _("Pause receivers"))
        reason = form.cleaned_data["reason"]
        changed = [s for s in queryset if pause(s.name, by=name_of(request.user), reason=reason)]
        text = ngettext("%(count)d receiver paused.", "%(count)d receivers paused.", len(changed))
        self.message_user(request, text % {"count": len(changed)}, messages.SUCCESS)
        put_on_record(request.user, changed, f"Paused: {reason}")
        return None

    @admin.action(description=_("Resume the selected receivers"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[ReceiverState]) -> None:
        """Let paused receivers run again."""
        changed = [state for state in queryset if resume(state.name)]
        text = ngettext("%(count)d receiver resumed.", "%(count)d receivers resumed.", len(changed))
        self.message_user(request, text % {"count": len(changed)}, messages.SUCCESS)
        put_on_record(request.user, changed, "Resumed")


class ReasonForm(forms.Form):
    """Why an operator intervenes: kept with what they changed."""

    reason = forms.CharField(label=_("Reason"), max_length=REASON_LENGTH, strip=True)


def reason_form(request: HttpRequest) -> ReasonForm:
    """Return the form: filled in where it was sent, else empty, for the first look."""
    return ReasonForm(request.POST if "reason" in request.POST else None)


def ask_for_reason(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    queryset: QuerySet[Any],
    form: ReasonForm,
    action: str,
    title: Any,
) -> TemplateResponse:
    """Show the chosen rows and ask; the answer comes to the same action again."""
    context = {
        **admin.site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "back": reverse(admin_urlname(model_admin.opts, "changelist")),  # type: ignore[arg-type]
        "form": form,
        "action": action,
        "count": queryset.count(),
        "shown": queryset[:SHOWN_IN_FORM],
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "select_across": request.POST.get("select_across", "0"),
        "checkbox_name": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "events/reason.html", context)
