"""What coupons keeps of a person, to be given to them."""

from typing import Any
from uuid import UUID

from django.db.models import F

from accounts.queries import exporter
from coupons.benefits import BENEFIT_FIELDS
from coupons.models import Coupon, IssueDecision, Redemption


@exporter("coupons")
def export(user_id: UUID) -> dict[str, Any]:
    """Return the coupons, their uses, and what campaigns decided; each the oldest first."""
    name = F("campaign__name")
    coupons = Coupon.objects.filter(user=user_id).order_by("pk")
    decisions = IssueDecision.objects.filter(user=user_id).order_by("pk")
    redemptions = Redemption.objects.filter(coupon__user=user_id).order_by("pk")
    return {
        "coupons": list(coupons.values(*_COUPON, campaign_name=name)),
        "decisions": list(decisions.values(*_DECISION, campaign_name=name)),
        "redemptions": list(redemptions.values(*_REDEMPTION, code=F("coupon__code"))),
    }


_COUPON = (
    *("code", "status", "valid_from", "valid_until", "suspended_at", "issued_at"),
    *BENEFIT_FIELDS,
)
_DECISION = ("outcome", "reason", "decided_at")
_REDEMPTION = ("order_ref", "order_amount", "discount", "currency", "created_at", "rolled_back_at")
