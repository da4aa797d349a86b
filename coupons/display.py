"""Benefits and money as sentences for people."""

from decimal import Decimal

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from coupons.benefits import Benefit

# ISO 4217 currencies that do not have two decimals.
_DECIMALS = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"], 0),
    **dict.fromkeys(["RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}


def format_money(minor_units: int, currency: str) -> str:
    """Return an amount in the reader's number format: 123456, "EUR" → "1,234.56 EUR"."""
    decimals = _DECIMALS.get(currency, 2)
    amount = Decimal(minor_units).scaleb(-decimals)
    number = number_format(amount, decimal_pos=decimals, use_l10n=True, force_grouping=True)
    return f"{number} {currency}"


def format_percent(basis_points: int) -> str:
    """Return a percentage in the reader's number format: 1250 → "12.5%"."""
    percent = Decimal(basis_points).scaleb(-2).normalize()
    return f"{number_format(format(percent, 'f'), use_l10n=True)}%"


def describe_benefit(benefit: Benefit) -> str:
    """Return what a campaign or a coupon gives, in a few words of the reader's language."""
    if benefit.amount is not None:
        return _("%(amount)s off") % {"amount": format_money(benefit.amount, benefit.currency)}
    percent = format_percent(benefit.basis_points or 0)
    if benefit.cap is None:
        return _("%(percent)s off") % {"percent": percent}
    cap = format_money(benefit.cap, benefit.currency)
    return _("%(percent)s off, at most %(cap)s") % {"percent": percent, "cap": cap}


def describe_minimum(benefit: Benefit) -> str:
    """Return the smallest order a benefit is for, or an empty string where any will do."""
    if not benefit.min_spend:
        return ""
    amount = format_money(benefit.min_spend, benefit.currency)
    return _("for orders of %(amount)s or more") % {"amount": amount}
