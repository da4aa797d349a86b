"""What spans apps and has to be remembered: checkouts, and the inbox of the project's receivers."""

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
