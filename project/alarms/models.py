"""Alarms that were raised, and those that still are."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from events.receivers import all_receivers


class AlarmKind(models.TextChoices):
    """What is wrong."""

    OVERDUE = "overdue", _("overdue")  # nobody has come for the oldest due delivery for long
    DEAD = "dead", _("dead")  # deliveries are out of attempts and wait for an operator


class Alarm(models.Model):
    """Something was wrong with a receiver for a while, or is."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    receiver = models.CharField(_("receiver"), max_length=100)
    kind = models.CharField(_("kind"), max_length=8, choices=AlarmKind)
    threshold_s = models.PositiveIntegerField(
        _("threshold in seconds"),
        null=True,
        blank=True,
        help_text=_("By which it began, and will be over; only what is overdue has one."),
    )
    worst = models.PositiveIntegerField(
        _("worst"),
        null=True,
        blank=True,
        help_text=_("Dead deliveries, or for how many seconds one was due. Empty: not noted."),
    )
    began_at = models.DateTimeField(_("began at"), db_default=Now())
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    class Meta:
        verbose_name = _("alarm")
        verbose_name_plural = _("alarms")
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["receiver", "kind"],
                name="project_alarm_once_at_a_time",
                condition=Q(ended_at__isnull=True),
            ),
            models.CheckConstraint(
                name="project_alarm_kind_known", condition=Q(kind__in=AlarmKind.values)
            ),
            models.CheckConstraint(
                name="project_alarm_threshold_iff_overdue",
                condition=Q(kind=AlarmKind.OVERDUE, threshold_s__isnull=False)
                | (~Q(kind=AlarmKind.OVERDUE) & Q(threshold_s__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.receiver}: {self.kind}"

    @property
    def is_of_this_release(self) -> bool:
        """Whether this release has the receiver. Other releases' alarms stay as well."""
        return self.receiver in {receiver.name for receiver in all_receivers()}
