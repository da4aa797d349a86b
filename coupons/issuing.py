"""Taking coupons out of a campaign's stock, under its row lock, and making them."""

from django.db.models import F, Q

import codes
from coupons.campaigns import Campaign
from coupons.models import CODE_LENGTH, Coupon, IssueDecision
from coupons.validity import validity_window


class StockChanged(Exception):
    """The stock of a campaign changed under its lock. Lock the campaign's row before issuing."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def take_stock(campaign: Campaign, wanted: int) -> int:
    """Take as many coupons as are wanted, or as many as are left, and return how many.

    The database has the last word: an update that would exceed the stock matches no row.
    """
    taken = wanted
    if campaign.stock is not None:
        taken = min(wanted, campaign.stock - campaign.issued_count)
    if taken == 0:
        return 0
    enough = Q(stock__isnull=True) | Q(stock__gte=F("issued_count") + taken)
    row = Campaign.objects.filter(enough, pk=campaign.pk, issued_count=campaign.issued_count)
    if row.update(issued_count=F("issued_count") + taken) != 1:
        raise StockChanged
    campaign.issued_count += taken
    return taken


def new_coupon(decision: IssueDecision) -> Coupon:
    """Return an unsaved coupon for a decision to issue one, with a copy of the benefit."""
    campaign = decision.campaign
    valid_from, valid_until = validity_window(campaign, issued_at=decision.decided_at)
    return Coupon(
        decision=decision,
        campaign=campaign,
        user_id=decision.user_id,
        code=codes.generate(CODE_LENGTH),
        valid_from=valid_from,
        valid_until=valid_until,
        issued_at=decision.decided_at,
        **campaign.terms_of_benefit(),
    )
