"""The admin's groups, its history, mails, alarms, and django-q2's tables, to read only."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django_q import admin as django_q_admin
from django_q.models import Failure, OrmQ, Schedule, Success

from events.admin import PersonalAdmin, ReadOnlyAdmin
from events.staff_lists import FindsByIndex, KnownValuesFilter, StaffAdmin, any_of, ids_of
from project.alarms.models import Alarm, AlarmKind
from project.models import Mail
from project.monitor.shown import lasting, up_to
from project.support import READ

admin.site.index_title = _("Usher")
admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, StaffAdmin[Group]):
    """Roles, and what each may do."""

    sortable_by = ("name",)


@admin.register(LogEntry)
class LogEntryAdmin(FindsByIndex, ReadOnlyAdmin):
    """Who did what in the admin, and over the staff's API."""

    list_display = ("action_time", "user", "content_type", "object_repr", "change_message")
    list_select_related = ("user", "content_type")
    search_fields = ("object_id", "user")
    search_help_text = _("Id of what was changed, or an operator's address; whole")
    ordering = ("-pk",)
    actions = None

    def find(self, queryset: QuerySet[LogEntry], term: str) -> QuerySet[LogEntry]:
        """Return what an operator did, or what was done to a row."""
        return (
            queryset.filter(user__in=ids_of(term))
            if "@" in term
            else queryset.filter(object_id=term)
        )


class _DoorbellAdmin(ReadOnlyAdmin):
    """Shown, never changed here: work that is owed is replayed under *Deliveries*."""

    actions = None


class SuccessAdmin(_DoorbellAdmin, django_q_admin.TaskAdmin):  # type: ignore[misc]
    """Finished tasks."""

    list_display = ("name", "func", "cluster", "started", "stopped", "time_taken")
    list_filter = ()


class FailureAdmin(_DoorbellAdmin, django_q_admin.FailAdmin):  # type: ignore[misc]
    """Failed tasks."""

    list_display = ("name", "func", "cluster", "started", "stopped", "short_result")
    list_filter = ()


class ScheduleAdmin(_DoorbellAdmin, django_q_admin.ScheduleAdmin):  # type: ignore[misc]
    """Repeating tasks."""

    list_display = ("name", "func", "repeats", "cluster", "next_run", "get_last_run", "get_success")
    list_filter = ("schedule_type", "cluster")
    list_display_links = ("name",)


class QueueAdmin(_DoorbellAdmin, django_q_admin.QueueAdmin):  # type: ignore[misc]
    """Bells that wait."""


_ADMINS: dict[type[Any], type[admin.ModelAdmin[Any]]] = {
    Success: SuccessAdmin,
    Failure: FailureAdmin,
    Schedule: ScheduleAdmin,
    OrmQ: QueueAdmin,
}

for model, model_admin in _ADMINS.items():
    if admin.site.is_registered(model):  # django-q2 shows some only with some brokers
        admin.site.unregister(model)
        admin.site.register(model, model_admin)


@admin.register(Mail)
class MailAdmin(PersonalAdmin):
    """What became of the mails about events."""

    list_display = ("created_at", "user", "kind", "outcome", "reason", "answer", "message_id")
    list_filter = ("kind", "outcome")
    list_select_related = ("user",)
    ordering = ("-pk",)
    actions = None
    search_help_text = _("Id of a user or an event, or e-mail address; whole")

    def find(self, queryset: QuerySet[Mail], term: str) -> QuerySet[Mail]:
        """Return the mails to an account, or about an event."""
        ids = ids_of(term)
        return queryset.filter(any_of({"user__in": ids, "event_id__in": ids}))


class IsOverFilter(KnownValuesFilter):
    """Alarms that are over, or those that are still on."""

    title = _("over")
    parameter_name = "over"

    def values(self) -> Iterable[tuple[str, Any]]:
        """Return both."""
        return [("yes", _("over")), ("no", _("still on"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the alarms of a choice."""
        still_on = {"yes": False, "no": True}.get(self.value() or "")
        return queryset if still_on is None else queryset.filter(ended_at__isnull=still_on)


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    """What was wrong with receivers, and for how long. For those who may open the monitor."""

    list_display = ("receiver", "kind", "at_worst", "began_at", "ended_at", "lasted")
    list_filter = ("kind", IsOverFilter, "began_at")
    fields = (
        *("receiver", "kind", "threshold_s", "at_worst", "began_at", "ended_at", "lasted"),
        "in_the_monitor",
    )
    search_fields = ("receiver",)
    search_help_text = _("Part of a receiver's name")
    ordering = ("-began_at", "-pk")
    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may open the monitor."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Alarm | None = None) -> bool:
        """Tell whether this member of staff may open the monitor."""
        return request.user.has_perms(READ)

    @admin.display(description=_("at worst"))
    def at_worst(self, alarm: Alarm) -> str | None:
        """Return how many deliveries were dead, or for how long one was due."""
        if alarm.worst is None:  # of a former release
            return None
        if alarm.kind == AlarmKind.OVERDUE:
            return lasting(alarm.worst)
        return gettext("%(count)s dead") % {"count": up_to(alarm.worst)}

    @admin.display(description=_("Event monitor"))
    def in_the_monitor(self, alarm: Alarm) -> str:
        """Return a link to what the receiver does now, if this release has it."""
        if not alarm.is_of_this_release:
            return alarm.receiver
        address = reverse("monitor-receiver", args=[alarm.receiver])
        return format_html('<a href="{}">{}</a>', address, alarm.receiver)

    @admin.display(description=_("lasted"))
    def lasted(self, alarm: Alarm) -> str | None:
        """Return for how long it was on."""
        if alarm.ended_at is None:
            return None
        return lasting(max(0.0, (alarm.ended_at - alarm.began_at).total_seconds()))
