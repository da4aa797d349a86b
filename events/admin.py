"""The event log and its deliveries in the admin: to read, to replay, never to edit."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from events.models import Attempt, Delivery, DeliveryState, Event, ReceiverState
from events.operations.replay import replay_chosen


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that are history: shown, searched, never changed here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


class _ReadOnlyInline(admin.TabularInline[Any, Any]):
    extra = 0
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _DeliveryInline(_ReadOnlyInline):
    model = Delivery
    fields = ("receiver", "target", "state", "attempts", "due_at", "finished_at", "last_error")


class _AttemptInline(_ReadOnlyInline):
    model = Attempt
    fields = ("number", "started_at", "ended_at", "error_class", "error_message", "release")
    show_change_link = True


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The log, newest first."""

    list_display = ("event_id", "type", "version", "key", "occurred_at", "correlation_id")
    list_filter = ("type",)
    search_fields = ("event_id__exact", "key__exact", "correlation_id__exact")
    search_help_text = _("Event id, key (a user's id) or correlation id, whole")
    ordering = ("-position",)
    inlines: ClassVar = [_DeliveryInline]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """What is owed to receivers."""

    list_display = ("id", "receiver", "type", "key", "state", "attempts", "due_at", "last_error")
    list_filter = ("state", "receiver", "type")
    search_fields = ("event__event_id__exact", "key__exact", "fingerprint__exact")
    search_help_text = _("Event id, key (a user's id) or fingerprint, whole")
    ordering = ("-id",)
    raw_id_fields = ("event",)
    inlines: ClassVar = [_AttemptInline]
    actions = ("replay",)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may replay."""
        return request.user.has_perm("events.replay_delivery")

    @admin.action(description=_("Replay the selected deliveries"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Put dead, skipped and done deliveries back."""
        count = replay_chosen(queryset)
        text = ngettext("%(count)d delivery replayed.", "%(count)d deliveries replayed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
        for delivery in queryset.filter(state=DeliveryState.PENDING):
            self.log_change(request, delivery, "Replayed")


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    """Failed attempts, newest first."""

    list_display = ("delivery", "number", "ended_at", "error_class", "fingerprint", "release")
    list_filter = ("error_class",)
    list_select_related = ("delivery",)
    search_fields = ("fingerprint__exact", "delivery__event__event_id__exact")
    ordering = ("-id",)


@admin.register(ReceiverState)
class ReceiverStateAdmin(ReadOnlyAdmin):
    """The receivers that workers have met."""

    list_display = ("name", "first_seen_at", "paused_at", "paused_by", "pause_reason")
