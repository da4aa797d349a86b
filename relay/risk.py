"""Risk checks: a question that leaves the house, with a deadline for its answer."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from uuid_utils.compat import uuid7

MESSAGE_ID_LENGTH = 255


class RiskCheckState(models.TextChoices):
    """How far the answer to a risk check is."""

    WAITING = "waiting", _("waiting")
    ANSWERED = "answered", _("answered")
    TIMED_OUT = "timed_out", _("timed out")
    ANSWERED_LATE = "answered_late", _("answered late")


class RiskCheck(models.Model):
    """One request to judge an account. Its answer counts also when it comes late."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="risk_checks",
        verbose_name=_("user"),
    )
    # No foreign key: events may one day be kept elsewhere, and checks outlive them.
    event_id = models.UUIDField(_("event id"), unique=True)
    state = models.CharField(
        _("state"), max_length=15, choices=RiskCheckState, default=RiskCheckState.WAITING
    )
    requested_at = models.DateTimeField(_("requested at"))
    deadline_at = models.DateTimeField(_("deadline"))
    timed_out_at = models.DateTimeField(_("timed out at"), null=True, blank=True)
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)
    decision = models.CharField(
        pgettext_lazy("risk check", "decision"), max_length=10, blank=True, default=""
    )

    class Meta:
        verbose_name = _("risk check")
        verbose_name_plural = _("risk checks")
        ordering = ("-id",)
        indexes: ClassVar[list[Any]] = [
            models.Index(
                fields=["deadline_at"],
                name="relay_riskcheck_due",
                condition=Q(state=RiskCheckState.WAITING),
            ),
        ]
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="relay_riskcheck_times_say_its_state",
                condition=Q(
                    state=RiskCheckState.WAITING,
                    timed_out_at__isnull=True,
                    answered_at__isnull=True,
                )
                | Q(
                    state=RiskCheckState.ANSWERED,
                    timed_out_at__isnull=True,
                    answered_at__isnull=False,
                )
                | Q(
                    state=RiskCheckState.TIMED_OUT,
                    timed_out_at__isnull=False,
                    answered_at__isnull=True,
                )
                | Q(
                    state=RiskCheckState.ANSWERED_LATE,
                    timed_out_at__isnull=False,
                    answered_at__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="relay_riskcheck_answered_iff_decision",
                condition=Q(answered_at__isnull=True, decision="")
                | (Q(answered_at__isnull=False) & ~Q(decision="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.event_id}"


class ReceivedMessage(models.Model):
    """A message that came in and was applied. While it is kept its id is not applied again."""

    message_id = models.CharField(_("message id"), max_length=MESSAGE_ID_LENGTH, unique=True)
    received_at = models.DateTimeField(_("received at"), default=timezone.now)

    class Meta:
        verbose_name = _("received message")
        verbose_name_plural = _("received messages")
        ordering = ("-id",)
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["received_at"], name="relay_received_by_age"),
        ]

    def __str__(self) -> str:
        return self.message_id
