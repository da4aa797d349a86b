"""What spans apps and has to be remembered: checkouts, mails, and the inbox of its receivers."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from coupons.models import Redemption
from events.models import AbstractProcessedEvent
from points.models import Entry
from project.alarms.models import Alarm  # noqa: F401  # Django looks here

MAX_REASON_LENGTH = 40


class CheckoutState(models.TextChoices):
    """How far a checkout has come."""

    PENDING = "pending", _("pending")  # the coupon is redeemed, the points are not spent yet
    COMPLETED = "completed", _("completed")
    REFUSED = "refused", _("refused")  # no points were spent; the redemption is rolled back
    UNDONE = "undone", _("undone")  # was completed; then both halves were rolled back


class Checkout(models.Model):
    """An order that is paid with a coupon and points: with both, or with neither."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    order_ref = models.CharField(_("order"), max_length=100, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("user"),
        help_text=_("Who owns the coupon and pays with points."),
    )
    redemption = models.OneToOneField(
        Redemption, on_delete=models.PROTECT, related_name="+", verbose_name=_("redemption")
    )
    points = models.PositiveBigIntegerField(_("points"))
    spending = models.OneToOneField(
        Entry,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("spending"),
    )
    state = models.CharField(
        _("state"), max_length=10, choices=CheckoutState, default=CheckoutState.PENDING
    )
    reason = models.CharField(_("reason"), max_length=MAX_REASON_LENGTH, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("requested by"),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("checkout")
        verbose_name_plural = _("checkouts")
        ordering = ("-id",)
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="project_checkout_state_known", condition=Q(state__in=CheckoutState.values)
            ),
            models.CheckConstraint(
                name="project_checkout_points_positive", condition=Q(points__gte=1)
            ),
            models.CheckConstraint(
                name="project_checkout_completed_has_spending",
                condition=Q(
                    state__in=[CheckoutState.COMPLETED, CheckoutState.UNDONE],
                    spending__isnull=False,
                )
                | Q(
                    state__in=[CheckoutState.PENDING, CheckoutState.REFUSED], spending__isnull=True
                ),
            ),
            models.CheckConstraint(
                name="project_checkout_refusal_has_reason",
                condition=~Q(state=CheckoutState.REFUSED) | ~Q(reason=""),
            ),
        ]

    def __str__(self) -> str:
        return self.order_ref

    @property
    def reason_or_none(self) -> str | None:
        """Why it was refused, or None."""
        return self.reason or None


class ProcessedEvent(AbstractProcessedEvent):
    """The events that the project's receivers have applied."""

    class Meta(AbstractProcessedEvent.Meta):
        abstract = False


ANSWER_LENGTH = 255


class MailKind(models.TextChoices):
    """What a mail is about."""

    WELCOME = "welcome", _("welcome")
    COUPON = "coupon", _("coupon")
    REWARD = "reward", _("reward")


class MailOutcome(models.TextChoices):
    """What became of a mail."""

    SENT = "sent", _("sent")  # the mail server took it
    WITHHELD = "withheld", _("withheld")  # it was not to be sent
    REFUSED = "refused", _("refused")  # by the mail server: there is no such address


class WithheldReason(models.TextChoices):
    """Why a mail was not to be sent."""

    ACCOUNT_CLOSED = "account_closed", _("the account is closed")
    ACCOUNT_FLAGGED = "account_flagged", _("the account is under review")
    ADDRESS_UNVERIFIED = "address_unverified", _("the address is not confirmed")
    UNDELIVERABLE = "undeliverable", _("no mail can reach the address")
    OUTDATED = "outdated", _("what it tells is no longer so")


class Mail(models.Model):
    """What became of the mail of one kind about one event. Neither its text nor its address."""

    event_id = models.UUIDField(_("event id"))
    kind = models.CharField(_("kind"), max_length=10, choices=MailKind)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("account"),
    )
    outcome = models.CharField(_("outcome"), max_length=10, choices=MailOutcome)
    reason = models.CharField(
        _("reason"),
        max_length=MAX_REASON_LENGTH,
        blank=True,
        help_text=_("A short code: why it was withheld, or the mail server's refusal."),
    )
    message_id = models.CharField(
        _("message id"), max_length=255, help_text=_("Of the mail, the same however often it went.")
    )
    answer = models.CharField(
        _("answer"),
        max_length=ANSWER_LENGTH,
        blank=True,
        help_text=_("What the mail server said when it took the mail: its own id of it."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("mail")
        verbose_name_plural = _("mails")
        ordering = ("-id",)
        indexes: ClassVar[list[Any]] = [
            models.Index(
                fields=["outcome", "id"],
                name="project_mail_not_sent",
                condition=~Q(outcome=MailOutcome.SENT),
            ),
        ]
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["event_id", "kind"], name="project_mail_once_per_event_and_kind"
            ),
            models.CheckConstraint(
                name="project_mail_kind_known", condition=Q(kind__in=MailKind.values)
            ),
            models.CheckConstraint(
                name="project_mail_outcome_known", condition=Q(outcome__in=MailOutcome.values)
            ),
            models.CheckConstraint(
                name="project_mail_says_why_not",
                condition=Q(outcome=MailOutcome.SENT, reason="")
                | (~Q(outcome=MailOutcome.SENT) & ~Q(reason="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} ({self.outcome})"
