"""The admin's name, and django-q2's tables shown as what they are: doorbells, to read only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django_q import admin as django_q_admin
from django_q.models import Failure, OrmQ, Schedule, Success

admin.site.site_header = admin.site.site_title = admin.site.index_title = _("Usher")


class ReadOnlyMixin(admin.ModelAdmin[Any]):
    """Shown, never changed here: work that is owed is replayed under *Deliveries*."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


class SuccessAdmin(ReadOnlyMixin, django_q_admin.TaskAdmin):  # type: ignore[misc]
    """Finished tasks."""


class FailureAdmin(ReadOnlyMixin, django_q_admin.FailAdmin):  # type: ignore[misc]
    """Failed tasks."""


class ScheduleAdmin(ReadOnlyMixin, django_q_admin.ScheduleAdmin):  # type: ignore[misc]
    """Repeating tasks."""


class QueueAdmin(ReadOnlyMixin, django_q_admin.QueueAdmin):  # type: ignore[misc]
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
