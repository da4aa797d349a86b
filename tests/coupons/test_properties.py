"""Whatever arrives, in whatever order and however often: what always holds for stock."""

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coupons.models import Campaign, Coupon, IssueDecision
from coupons.services import decide_registration_campaigns
from tests.coupons.factories import make_campaign
from tests.registrations import all_registered, close, flag, make_people

PEOPLE = 6
STANDINGS = ["active", "closed", "flagged"]

stocks = st.lists(st.one_of(st.none(), st.integers(0, PEOPLE)), min_size=1, max_size=3)
batches = st.lists(
    st.lists(st.integers(0, PEOPLE - 1), min_size=1, max_size=PEOPLE), min_size=1, max_size=5
)
standings = st.lists(st.sampled_from(STANDINGS), min_size=PEOPLE, max_size=PEOPLE)


@pytest.mark.django_db
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stocks=stocks, batches=batches, standings=standings)
def test_stock_is_never_exceeded_and_everybody_is_decided_once(
    stocks: list[int | None], batches: list[list[int]], standings: list[str]
) -> None:
    with transaction.atomic():
        campaigns = [make_campaign(stock=stock) for stock in stocks]
        people = make_people(PEOPLE)
        for person, standing in zip(people, standings, strict=True):
            if standing == "flagged":
                flag(person)
            elif standing == "closed":
                close(person)
        events = all_registered(people)
        for batch in batches:
            decide_registration_campaigns([events[index] for index in batch])

        seen = {index for batch in batches for index in batch}
        eligible = sum(standings[index] == "active" for index in seen)
        for campaign in campaigns:
            _check(campaign, len(seen), eligible)
        transaction.set_rollback(True)


def _check(campaign: Campaign, seen: int, eligible: int) -> None:
    campaign.refresh_from_db()
    coupons = Coupon.objects.filter(campaign=campaign).count()
    decisions = IssueDecision.objects.filter(campaign=campaign)
    assert decisions.count() == seen
    assert decisions.filter(outcome="issued").count() == coupons == campaign.issued_count
    assert coupons == (eligible if campaign.stock is None else min(eligible, campaign.stock))
