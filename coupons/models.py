"""Decisions about coupons, the coupons themselves, and the app's inbox."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from coupons.benefits import Benefit
from coupons.bulk_issues import BulkIssue, BulkIssueRow
from coupons.campaigns import Campaign, CampaignStatusChange
from coupons.funnel_steps import FunnelStep
from coupons.redemptions import Redemption
from events.models import AbstractProcessedEvent

__all__ = [
    "BulkIssue",
    "BulkIssueRow",
    "Campaign",
    "CampaignStatusChange",
    "Coupon",
    "FunnelStep",
    "IssueDecision",
    "ProcessedEvent",
    "Redemption",
]

CODE_LENGTH = 12  # check character included


class Outcome(models.TextChoices):
    """What was decided for a person and a campaign."""

    ISSUED = "issued", _("issued")
    HELD = "held", _("held")  # owed, but not before something is cleared up
    SKIPPED = "skipped", _("skipped")
    VOIDED = "voided", _("voided")  # nothing will ever come of it


class DecisionReason(models.TextChoices):
    """Why a coupon was not issued (yet)."""

    ACCOUNT_FLAGGED = "account_flagged", _("the account is under review")  # held
    REFERRAL_FLAGGED = "referral_flagged", _("the invitation is under review")  # held
    CAMPAIGN_PAUSED = "campaign_paused", _("the campaign is paused")  # held or skipped
    CAMPAIGN_ENDED = "campaign_ended", _("the campaign ended")  # skipped
    NOT_INVITED = "not_invited", _("the campaign is for invited people")  # skipped
    RETURNING_PERSON = "returning_person", _("the person had an account before")  # skipped
    SOLD_OUT = "sold_out", _("the campaign is sold out")  # skipped
    VALIDITY_OVER = "validity_over", _("its coupons are no longer valid")  # skipped
    ACCOUNT_CLOSED = "account_closed", _("the account is closed")  # voided
    REFERRAL_VOIDED = "referral_voided", _("the invitation does not count")  # voided


class IssueDecision(models.Model):
    """The one decision of a campaign about a person. Refusals are recorded too.

    It is written under the campaign's row lock only. Where an unused coupon is revoked, because the
    account was closed or the referral voided, its decision becomes voided for that reason.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    campaign = models.ForeignKey(
        Campaign,
        on_delete=models.PROTECT,
        related_name="decisions",
        verbose_name=_("campaign"),
        db_index=False,  # the unique constraint begins with it
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="coupon_decisions",
        verbose_name=_("user"),
    )
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome)
    reason = models.CharField(_("reason"), max_length=40, choices=DecisionReason, blank=True)
    # No foreign key: events may one day be kept elsewhere, and decisions outlive them.
    event_id = models.UUIDField(_("event id"), null=True, blank=True)
    decided_at = models.DateTimeField(_("decided at"), default=timezone.now)

    class Meta:
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        ordering = ("-id",)
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["campaign", "user"], name="coupons_issuedecision_once_per_user"
            ),
            models.CheckConstraint(
                name="coupons_issuedecision_outcome_known",
                condition=Q(outcome__in=Outcome.values),
            ),
            models.CheckConstraint(
                name="coupons_issuedecision_reason_known",
                condition=Q(reason__in=["", *DecisionReason.values]),
            ),
            models.CheckConstraint(
                name="coupons_issuedecision_refusal_has_reason",
                condition=Q(outcome=Outcome.ISSUED, reason="")
                | (~Q(outcome=Outcome.ISSUED) & ~Q(reason="")),
            ),
        ]
        indexes: ClassVar[list[Any]] = [
            # What may still be issued, in the order of registration: see coupons.settling.
            models.Index(
                fields=["campaign", "reason", "event_id"],
                name="coupons_decision_open",
                condition=Q(outcome=Outcome.HELD) | Q(reason=DecisionReason.SOLD_OUT),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.reason}".strip()


class CouponStatus(models.TextChoices):
    """What happened to a coupon. What its owner sees is `states.coupon_state`."""

    ISSUED = "issued", _("issued")
    REDEEMED = "redeemed", _("redeemed")
    REVOKED = "revoked", _("revoked")


class Coupon(Benefit):
    """A person's coupon, with its own copy of the benefit it was issued for."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    decision = models.OneToOneField(
        IssueDecision,
        on_delete=models.PROTECT,
        related_name="coupon",
        verbose_name=_("decision"),
    )
    campaign = models.ForeignKey(
        Campaign, on_delete=models.PROTECT, related_name="coupons", verbose_name=_("campaign")
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="coupons",
        verbose_name=_("user"),
        db_index=False,  # the index below begins with it
    )
    code = models.CharField(_("code"), max_length=CODE_LENGTH, unique=True)
    valid_from = models.DateTimeField(_("valid from"))
    valid_until = models.DateTimeField(_("valid until"), help_text=_("The first moment after."))
    status = models.CharField(
        _("status"), max_length=10, choices=CouponStatus, default=CouponStatus.ISSUED
    )
    suspended_at = models.DateTimeField(_("suspended at"), null=True, blank=True)
    issued_at = models.DateTimeField(_("issued at"), default=timezone.now)

    class Meta:
        verbose_name = _("coupon")
        verbose_name_plural = _("coupons")
        ordering = ("-id",)
        permissions: ClassVar[list[Any]] = [
            ("redeem_coupon", _("Can redeem anybody's coupons (a shop)")),
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["user", "-id"], name="coupons_coupon_of_user"),
        ]
        constraints: ClassVar[list[Any]] = [
            *Benefit.Meta.constraints,
            models.CheckConstraint(
                name="coupons_coupon_status_known",
                condition=Q(status__in=CouponStatus.values),
            ),
            models.CheckConstraint(
                name="coupons_coupon_valid_until_after_from",
                condition=Q(valid_until__gt=F("valid_from")),
            ),
        ]

    def __str__(self) -> str:
        return self.code


class ProcessedEvent(AbstractProcessedEvent):
    """The events that this app's receivers have applied."""

    class Meta(AbstractProcessedEvent.Meta):
        abstract = False
