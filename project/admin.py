"""The admin's groups, its history, mails, and django-q2's tables: doorbells, to read only."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from django_q import admin as django_q_admin
from django_q.models import Failure, OrmQ, Schedule, Success

from events.admin import PersonalAdmin, ReadOnlyAdmin
from events.staff_lists import FindsByIndex, StaffAdmin, any_of, ids_of
from project.models import Mail

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
