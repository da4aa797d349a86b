"""What operators do to many deliveries at once: the frozen set, and how far it has come."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class InterventionKind(models.TextChoices):
    """What is done to the deliveries."""

    REPLAY = "replay", _("replay")
    SKIP = "skip", _("skip")


class InterventionState(models.TextChoices):
    """Where an intervention stands. The last two are final."""

    RUNNING = "running", _("running")
    STOPPED = "stopped", _("stopped")  # something failed again: an operator says what then
    THROUGH = "through", _("through")
    GIVEN_UP = "given_up", _("given up")


class Stage(models.IntegerChoices):
    """How many deliveries are risked."""

    CANARY = 1, _("one")
    TEN = 2, _("ten")
    ALL = 3, _("all")


class Intervention(models.Model):
    """Deliveries that died of one cause, replayed or skipped together."""

    kind = models.CharField(_("kind"), max_length=6, choices=InterventionKind)
    receiver = models.CharField(_("receiver"), max_length=100)
    fingerprint = models.CharField(
        _("fingerprint"), max_length=16, blank=True, help_text=_("Empty: failures of any kind.")
    )
    size = models.PositiveIntegerField(_("size"), help_text=_("Deliveries in the frozen set."))
    asked_by = models.CharField(_("asked by"), max_length=150)
    operator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("operator"),
        help_text=_("Empty: somebody at a command line."),
    )
    reason = models.CharField(_("reason"), max_length=200)
    state = models.CharField(
        _("state"),
        max_length=8,
        choices=InterventionState,
        default=InterventionState.RUNNING,
    )
    stage = models.PositiveSmallIntegerField(_("stage"), choices=Stage, default=Stage.CANARY)
    tolerated = models.PositiveSmallIntegerField(
        _("tolerated"), default=0, help_text=_("Failures up to this stage stop nothing.")
    )
    error = models.CharField(_("error"), max_length=200, blank=True)
    decided_by = models.CharField(
        _("decided by"), max_length=150, blank=True, help_text=_("Who last said to go on, or not.")
    )
    decision = models.CharField(
        pgettext_lazy("intervention", "decision"), max_length=200, blank=True
    )
    began_at = models.DateTimeField(_("began at"), db_default=Now())
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    class Meta:
        verbose_name = _("intervention")
        verbose_name_plural = _("interventions")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["receiver", "fingerprint"],
                name="intervention_one_at_a_time",
                condition=Q(ended_at__isnull=True),
            ),
            models.CheckConstraint(
                condition=Q(state__in=["through", "given_up"], ended_at__isnull=False)
                | Q(state__in=["running", "stopped"], ended_at__isnull=True),
                name="intervention_ended_iff_final",
            ),
            models.CheckConstraint(
                condition=~Q(asked_by="") & ~Q(reason=""), name="intervention_signed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.receiver} {self.fingerprint} ({self.size})"


class ItemState(models.TextChoices):
    """What has become of one delivery of the set."""

    FROZEN = "frozen", _("not touched yet")
    UNDERWAY = "underway", _("under way")
    DONE = "done", _("done")
    FAILED = "failed", _("failed again")
    LET_BE = "let_be", _("let be")  # it had been replayed or skipped by others meanwhile


class InterventionItem(models.Model):
    """One delivery of a frozen set. It outlives the delivery, and goes by its own age."""

    intervention = models.ForeignKey(
        Intervention,
        on_delete=models.CASCADE,
        related_name="items",
        verbose_name=_("intervention"),
    )
    delivery = models.ForeignKey(
        "events.Delivery",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        verbose_name=_("delivery"),
    )
    state = models.CharField(_("state"), max_length=8, choices=ItemState, default=ItemState.FROZEN)
    stage = models.PositiveSmallIntegerField(_("stage"), choices=Stage, null=True, blank=True)
    after_attempt = models.BigIntegerField(
        _("after attempt"),
        null=True,
        blank=True,
        help_text=_("Attempts with a higher number were made since it was put back."),
    )

    class Meta:
        verbose_name = _("delivery of an intervention")
        verbose_name_plural = _("deliveries of interventions")
        indexes: ClassVar = [
            models.Index(fields=["intervention", "state", "id"], name="intervention_item_state"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["intervention", "delivery"], name="intervention_item_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id}: {self.state}"
