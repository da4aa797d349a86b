"""The rows of the campaign funnel: what happened to a campaign's coupons, event by event."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class StepKind(models.TextChoices):
    """What happened."""

    ISSUED = "issued", _("issued")
    REFUSED = "refused", _("refused")
    REDEEMED = "redeemed", _("redeemed")
    ROLLED_BACK = "rolled_back", _("redemption undone")


class FunnelStep(models.Model):
    """One event about a campaign's coupons. A projection: `rebuild_projections` makes it anew."""

    event_id = models.UUIDField(_("event id"), primary_key=True)
    campaign = models.ForeignKey(
        "coupons.Campaign",
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("campaign"),
        db_index=False,  # the index below begins with it
    )
    day = models.DateField(_("day"), help_text=_("In the campaign's time zone."))
    kind = models.CharField(_("kind"), max_length=20, choices=StepKind)

    class Meta:
        verbose_name = _("step of a campaign's funnel")
        verbose_name_plural = _("steps of campaigns' funnels")
        indexes: ClassVar = [
            models.Index(fields=["campaign", "day", "kind"], name="coupons_funnel_by_day"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="coupons_funnelstep_kind_known",
                condition=models.Q(kind__in=StepKind.values),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.day}"
