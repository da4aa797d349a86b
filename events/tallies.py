"""Running totals for metrics: history is counted once, bit by bit, and never gone over again."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class Tally(models.Model):
    """One total since the counting began: it only grows."""

    metric = models.CharField(_("metric"), max_length=50)
    label = models.CharField(_("label"), max_length=100)  # a receiver or a type of event
    bucket = models.CharField(
        _("bucket"),
        max_length=10,
        blank=True,
        default="",
        help_text=_("Of a histogram; or a state."),
    )
    value = models.FloatField(_("value"), default=0)

    class Meta:
        verbose_name = _("total")
        verbose_name_plural = _("totals")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["metric", "label", "bucket"], name="tally_once_per_label"
            ),
            models.CheckConstraint(condition=models.Q(value__gte=0), name="tally_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.label} {self.bucket}".rstrip()


class TallyMark(models.Model):
    """How far history is counted. There is one: whoever counts on locks it."""

    name = models.CharField(_("name"), max_length=20, primary_key=True)
    counted_to = models.DateTimeField(
        _("counted to"), help_text=_("By when deliveries finished and attempts failed.")
    )
    position = models.BigIntegerField(
        _("position"), help_text=_("Of the last event that is counted.")
    )

    class Meta:
        verbose_name = _("mark of totals")
        verbose_name_plural = _("marks of totals")

    def __str__(self) -> str:
        return f"{self.name} {self.counted_to:%Y-%m-%d %H:%M:%S}"
