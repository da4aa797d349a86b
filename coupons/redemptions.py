"""The use of a coupon for an order, and its undoing."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

ORDER_REF_LENGTH = 100
MAX_ORDER_AMOUNT = 10**12  # minor units


class Redemption(models.Model):
    """A coupon applied to an order. Undone, it stays as history and the coupon may be used again.

    Money is in minor units of the coupon's currency.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    coupon = models.ForeignKey(
        "coupons.Coupon",
        on_delete=models.PROTECT,
        related_name="redemptions",
        verbose_name=_("coupon"),
    )
    order_ref = models.CharField(_("order"), max_length=ORDER_REF_LENGTH)
    order_amount = models.PositiveBigIntegerField(_("order amount"))
    discount = models.PositiveBigIntegerField(_("discount"))
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    redeemed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("redeemed by"),
    )
    created_at = models.DateTimeField(_("redeemed at"), default=timezone.now)
    rolled_back_at = models.DateTimeField(_("rolled back at"), null=True, blank=True)
    rolled_back_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("rolled back by"),
    )

    class Meta:
        verbose_name = _("redemption")
        verbose_name_plural = _("redemptions")
        ordering = ("-id",)
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["order_ref"], name="coupons_redemption_of_order"),
        ]
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["coupon"],
                name="coupons_redemption_one_applied",
                condition=Q(rolled_back_at__isnull=True),
            ),
            models.CheckConstraint(name="coupons_redemption_has_order", condition=~Q(order_ref="")),
            models.CheckConstraint(
                name="coupons_redemption_amount_in_range",
                condition=Q(order_amount__gte=1, order_amount__lte=MAX_ORDER_AMOUNT),
            ),
            models.CheckConstraint(
                name="coupons_redemption_discount_within_order",
                condition=Q(discount__lte=F("order_amount")),
            ),
            models.CheckConstraint(
                name="coupons_redemption_rolled_back_by_somebody",
                condition=Q(rolled_back_at__isnull=True, rolled_back_by__isnull=True)
                | Q(rolled_back_at__isnull=False, rolled_back_by__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.order_ref
