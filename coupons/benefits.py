"""What a coupon is worth: a fixed amount or a percentage. Integers only."""

from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

ALL_BASIS_POINTS = 10_000  # 100 %
BENEFIT_FIELDS = ("amount", "basis_points", "cap", "min_spend", "currency")

_CURRENCY = r"\A[A-Z]{3}\Z"


class Benefit(models.Model):
    """Columns shared by a campaign, which promises a benefit, and a coupon, which holds a copy.

    All money is in minor units of `currency` (cents for EUR, yen for JPY).
    """

    amount = models.PositiveBigIntegerField(
        _("amount"), null=True, blank=True, help_text=_("Fixed discount in minor units.")
    )
    basis_points = models.PositiveIntegerField(
        _("basis points"),
        null=True,
        blank=True,
        help_text=_("Percentage discount in hundredths of a percent: 1250 is 12.5 %."),
    )
    cap = models.PositiveBigIntegerField(
        _("cap"),
        null=True,
        blank=True,
        help_text=_("Largest percentage discount in minor units. Empty: no limit."),
    )
    min_spend = models.PositiveBigIntegerField(
        _("minimum spend"), default=0, help_text=_("Smallest order in minor units.")
    )
    currency = models.CharField(
        _("currency"),
        max_length=3,
        blank=True,
        validators=[RegexValidator(_CURRENCY, _("A currency is three capital letters."))],
        help_text=_("Three capital letters (ISO 4217), needed wherever an amount of money is."),
    )

    class Meta:
        abstract = True
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_one_benefit",
                # NULL comparisons count as passed in a CHECK, so each branch states what is set.
                condition=Q(
                    amount__isnull=False,
                    amount__gt=0,
                    basis_points__isnull=True,
                    cap__isnull=True,
                )
                | Q(
                    amount__isnull=True,
                    basis_points__isnull=False,
                    basis_points__gte=1,
                    basis_points__lte=ALL_BASIS_POINTS,
                ),
                violation_error_message=_(
                    "Set either an amount, or basis points from 1 to 10000 with an optional cap."
                ),
            ),
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_cap_positive",
                condition=Q(cap__isnull=True) | Q(cap__gt=0),
                violation_error_message=_("A cap is at least 1. Leave it empty for no limit."),
            ),
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_money_has_currency",
                condition=Q(currency__regex=_CURRENCY)
                | Q(currency="", amount__isnull=True, cap__isnull=True, min_spend=0),
                violation_error_message=_(
                    "An amount of money needs a currency of three capital letters."
                ),
            ),
        ]

    def terms_of_benefit(self) -> dict[str, Any]:
        """Return the benefit's columns, to copy them onto a coupon."""
        return {name: getattr(self, name) for name in BENEFIT_FIELDS}
