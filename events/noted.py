"""What workers note now and then, so that a look costs the same however much there is."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Minute(models.Model):
    """What a receiver did in one minute, and what waited for it when that was counted."""

    receiver = models.CharField(_("receiver"), max_length=100)
    at = models.DateTimeField(_("at"), help_text=_("The minute's beginning."))
    done = models.PositiveIntegerField(_("done"), default=0)
    failed = models.PositiveIntegerField(_("failed attempts"), default=0)
    p50_s = models.FloatField(_("median, seconds"), null=True, blank=True)
    p95_s = models.FloatField(_("95th percentile, seconds"), null=True, blank=True)
    due = models.PositiveIntegerField(_("due"), default=0)
    oldest_due_age_s = models.FloatField(_("oldest due, seconds"), default=0)

    class Meta:
        verbose_name = _("minute")
        verbose_name_plural = _("minutes")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["at", "receiver"], name="minute_once_per_receiver"),
        ]

    def __str__(self) -> str:
        return f"{self.receiver} {self.at:%Y-%m-%d %H:%M}"


class SeenWorker(models.Model):
    """A `manage.py worker`, as its sweep last noted it."""

    name = models.CharField(_("name"), max_length=100, primary_key=True)
    host = models.CharField(_("host"), max_length=100)
    queues = models.JSONField(_("queues"), help_text=_("And what is stuck in each, if anything."))
    release = models.CharField(_("release"), max_length=64, blank=True)
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    seen_at = models.DateTimeField(_("seen at"), db_default=Now())

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name
