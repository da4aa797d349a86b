"""The rules by which inviting people is rewarded, and what was decided by them."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

MAX_DAYS = 3650  # of any span in a rule
MAX_REWARD = 1_000_000_000  # points for one invited person
MAX_COUNT = 1_000_000_000  # of versions, and of rewards in a cap: an integer of every database

_ENDS_AFTER_START = _("A rule ends after it starts.")


class RuleKind(models.TextChoices):
    """What is rewarded. A person is the reason of one reward per kind, whatever the version."""

    REFERRAL = "referral", _("referral")


class RewardRule(models.Model):
    """One version of the terms of a kind of reward. Frozen once used, but for its end.

    Caps count the rewards of one inviter (granted or pending) of this kind, under any version.
    A reward that is voided no longer counts: its place is free for a later registration.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(_("kind"), max_length=20, choices=RuleKind, default=RuleKind.REFERRAL)
    version = models.PositiveIntegerField(
        _("version"), help_text=_("Where several are active, the highest counts.")
    )
    points = models.PositiveIntegerField(_("points"))
    cap_total = models.PositiveIntegerField(
        _("cap in all"), null=True, blank=True, help_text=_("Rewards per inviter. Empty: no limit.")
    )
    cap_per_period = models.PositiveIntegerField(
        _("cap per period"),
        null=True,
        blank=True,
        help_text=_("Rewards per inviter in any stretch of the period. Empty: no limit."),
    )
    period_days = models.PositiveIntegerField(_("period in days"), null=True, blank=True)
    hold_days = models.PositiveIntegerField(
        _("days held"), default=0, help_text=_("Days from the registration to the points.")
    )
    expires_days = models.PositiveIntegerField(
        _("days until expiry"), null=True, blank=True, help_text=_("Empty: never.")
    )
    active_from = models.DateTimeField(_("active from"), default=timezone.now)
    active_until = models.DateTimeField(
        _("active until"),
        null=True,
        blank=True,
        help_text=_("The first moment after. Empty: open."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("reward rule")
        verbose_name_plural = _("reward rules")
        ordering = ("kind", "-version")
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["kind", "version"], name="points_rewardrule_version_once"
            ),
            models.CheckConstraint(
                name="points_rewardrule_kind_known", condition=Q(kind__in=RuleKind.values)
            ),
            models.CheckConstraint(
                name="points_rewardrule_positive",
                condition=Q(points__gte=1, version__gte=1),
                violation_error_message=_("Points and version are at least 1."),
            ),
            models.CheckConstraint(
                name="points_rewardrule_points_limited",
                condition=Q(points__lte=MAX_REWARD),
                violation_error_message=_("Points are at most 1,000,000,000."),
            ),
            models.CheckConstraint(
                name="points_rewardrule_counts_limited",
                condition=Q(version__lte=MAX_COUNT)
                & (Q(cap_total__isnull=True) | Q(cap_total__lte=MAX_COUNT))
                & (Q(cap_per_period__isnull=True) | Q(cap_per_period__lte=MAX_COUNT)),
                violation_error_message=_("Version and caps are at most 1,000,000,000."),
            ),
            models.CheckConstraint(
                name="points_rewardrule_caps_positive",
                condition=(Q(cap_total__isnull=True) | Q(cap_total__gte=1))
                & (Q(expires_days__isnull=True) | Q(expires_days__gte=1)),
                violation_error_message=_("Leave caps and days empty for no limit; 0 is none."),
            ),
            models.CheckConstraint(
                name="points_rewardrule_cap_has_period",
                condition=Q(cap_per_period__isnull=True, period_days__isnull=True)
                | Q(
                    cap_per_period__isnull=False,
                    cap_per_period__gte=1,
                    period_days__isnull=False,
                    period_days__gte=1,
                ),
                violation_error_message=_("A cap per period and its days go together."),
            ),
            models.CheckConstraint(
                name="points_rewardrule_days_limited",
                condition=Q(hold_days__lte=MAX_DAYS)
                & (Q(expires_days__isnull=True) | Q(expires_days__lte=MAX_DAYS))
                & (Q(period_days__isnull=True) | Q(period_days__lte=MAX_DAYS)),
                violation_error_message=_("Days are at most 3650."),
            ),
            models.CheckConstraint(
                name="points_rewardrule_ends_after_start",
                condition=Q(active_until__isnull=True) | Q(active_until__gt=F("active_from")),
                violation_error_message=_ENDS_AFTER_START,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} v{self.version}"

    def covers(self, at: datetime) -> bool:
        """Tell whether the rule is active at a moment. The end is exclusive."""
        return self.active_from <= at and (self.active_until is None or at < self.active_until)

    def release_at(self, registered_at: datetime) -> datetime | None:
        """Return when a reward for that registration is due, or None where it need not wait."""
        return registered_at + timedelta(days=self.hold_days) if self.hold_days else None

    def clean(self) -> None:
        """Refuse an end before the start, and other terms once a decision was made by them."""
        super().clean()
        # A form that shows the start read-only does not look at the constraint of both.
        if self.active_from and self.active_until and self.active_until <= self.active_from:
            raise ValidationError({"active_until": _ENDS_AFTER_START})
        stored = RewardRule.objects.filter(pk=self.pk, decisions__isnull=False).first()
        if stored and any(getattr(stored, name) != getattr(self, name) for name in FROZEN_FIELDS):
            raise ValidationError(
                _("The rule is frozen since it was first used. Add a version instead."),
                "rule_frozen",
            )


FROZEN_FIELDS = (
    "kind",
    "version",
    "points",
    "cap_total",
    "cap_per_period",
    "period_days",
    "hold_days",
    "expires_days",
    "active_from",
)


class RewardOutcome(models.TextChoices):
    """What was decided about a reward."""

    PENDING = "pending", _("pending")
    GRANTED = "granted", _("granted")
    SKIPPED = "skipped", _("skipped")
    VOIDED = "voided", _("voided")  # nothing will ever come of it, or it was taken back


class RewardReason(models.TextChoices):
    """Why a reward was not granted (yet)."""

    HOLD_PERIOD = "hold_period", _("the waiting time is not over")  # pending
    REFERRAL_FLAGGED = "referral_flagged", _("the referral is under review")  # pending
    INVITER_FLAGGED = "inviter_flagged", _("the inviter's account is under review")  # pending
    INVITEE_FLAGGED = (
        "invitee_flagged",
        _("the invited person's account is under review"),
    )  # pending
    NO_ACTIVE_RULE = "no_active_rule", _("no rule was active")  # skipped
    INVITER_CLOSED = "inviter_closed", _("the inviter's account is closed")  # skipped
    CAP_TOTAL = "cap_total", _("the inviter has all the rewards there are")  # skipped
    CAP_PERIOD = "cap_period", _("the inviter has all the rewards of the period")  # skipped
    REFERRAL_VOIDED = "referral_voided", _("the referral was declared void")  # voided


class RewardDecision(models.Model):
    """The one decision about rewarding an inviter for a person. Refusals are recorded too."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    rule_kind = models.CharField(_("kind"), max_length=20, choices=RuleKind)
    invitee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="reward_decisions_as_invitee",
        verbose_name=_("invited person"),
        db_index=False,  # the unique constraint begins with it
    )
    inviter = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="reward_decisions",
        verbose_name=_("inviter"),
        db_index=False,  # the index below begins with it
    )
    outcome = models.CharField(_("outcome"), max_length=10, choices=RewardOutcome)
    reason = models.CharField(_("reason"), max_length=40, choices=RewardReason, blank=True)
    rule = models.ForeignKey(
        RewardRule,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="decisions",
        verbose_name=_("rule"),
    )
    points = models.PositiveIntegerField(
        _("points"), default=0, help_text=_("What the rule promised at that time.")
    )
    # No foreign key: events may one day be kept elsewhere, and decisions outlive them.
    event_id = models.UUIDField(_("event id"), null=True, blank=True)
    occurred_at = models.DateTimeField(_("registered at"))
    release_at = models.DateTimeField(
        _("release at"), null=True, blank=True, help_text=_("When a held reward is due.")
    )
    decided_at = models.DateTimeField(_("decided at"), default=timezone.now)

    class Meta:
        verbose_name = _("reward decision")
        verbose_name_plural = _("reward decisions")
        ordering = ("-id",)
        indexes: ClassVar[list[Any]] = [
            models.Index(
                fields=["inviter", "rule_kind", "occurred_at"], name="points_decision_of_inviter"
            ),
            models.Index(fields=["occurred_at"], name="points_decision_by_time"),
            models.Index(
                fields=["id"], name="points_decision_pending", condition=Q(outcome="pending")
            ),
        ]
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["invitee", "rule_kind"], name="points_rewarddecision_once_per_invitee"
            ),
            models.CheckConstraint(
                name="points_rewarddecision_kind_known", condition=Q(rule_kind__in=RuleKind.values)
            ),
            models.CheckConstraint(
                name="points_rewarddecision_outcome_known",
                condition=Q(outcome__in=RewardOutcome.values),
            ),
            models.CheckConstraint(
                name="points_rewarddecision_not_of_oneself", condition=~Q(inviter=F("invitee"))
            ),
            models.CheckConstraint(
                name="points_rewarddecision_refusal_has_reason",
                condition=Q(outcome=RewardOutcome.GRANTED, reason="")
                | (~Q(outcome=RewardOutcome.GRANTED) & ~Q(reason="")),
            ),
            models.CheckConstraint(
                name="points_rewarddecision_points_by_rule",
                condition=Q(outcome__in=[RewardOutcome.SKIPPED, RewardOutcome.VOIDED])
                | Q(rule__isnull=False, points__gte=1),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.reason}".strip()
