"""The rows of the invite funnel: what came of inviting people, event by event."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class StepKind(models.TextChoices):
    """What happened."""

    REWARDED = "rewarded", _("rewarded")
    REFUSED = "refused", _("refused")
    TAKEN_BACK = "taken_back", _("taken back")


class FunnelStep(models.Model):
    """One event about a reward. A projection: `rebuild_projections` makes it anew."""

    event_id = models.UUIDField(_("event id"), primary_key=True)
    inviter = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("inviter"),
    )
    day = models.DateField(_("day"), help_text=_("In UTC."))
    kind = models.CharField(_("kind"), max_length=20, choices=StepKind)
    points = models.PositiveBigIntegerField(_("points"), default=0)

    class Meta:
        verbose_name = _("step of the invite funnel")
        verbose_name_plural = _("steps of the invite funnel")
        indexes: ClassVar = [
            models.Index(fields=["day", "kind", "points"], name="points_funnel_by_day"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="points_funnelstep_kind_known",
                condition=models.Q(kind__in=StepKind.values),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.day}"
