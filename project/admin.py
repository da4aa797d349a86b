"""The admin's groups, its history, mails, and django-q2's tables: doorbells, to read only."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _
from django_q import admin as django_q_admin
from django_q.models import Failure, OrmQ, Schedule, Success

from events.admin import PersonalAdmin, ReadOnlyAdmin
from events.staff_lists import StaffAdmin
from project.models import Mail

admin.site.index_title = _("Usher")
admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, StaffAdmin[Group]):
    """Roles, and what each may do."""

    sortable_by = ("name",)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """Who did what in the admin, and over the staff's API."""

    list_display = ("action_time", "user", "content_type", "object_repr", "change_message")
    list_select_related = ("user", "content_type")
    search_fields = ("object_id__exact", "user__email")
    search_help_text = _("Id of what was changed, whole; or part of an operator's address")
    ordering = ("-pk",)
    actions = None


class _DoorbellAdmin(ReadOnlyAdmin):
    """Shown, never changed here: work that is owed is replayed under *Deliveries*."""

    actions = None


class SuccessAdmin(_DoorbellAdmin, django_q_admin.TaskAdmin):  # type: ignore[misc]
    """Finished tasks."""


class FailureAdmin(_DoorbellAdmin, django_q_admin.FailAdmin):  # type: ignore[misc]
    """Failed tasks."""


class ScheduleAdmin(_DoorbellAdmin, django_q_admin.ScheduleAdmin):  # type: ignore[misc]
    """Repeating tasks."""


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
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.filter(user__email=term.lower())
        return queryset.filter(Q(user=wanted) | Q(event_id=wanted))
