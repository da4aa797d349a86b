"""What a campaign refuses before the database has to, and what it remembers."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from coupons.models import Campaign
from tests.coupons.factories import campaign_columns, make_campaign

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.django_db
def test_saving_never_writes_the_count_of_issued_coupons() -> None:
    loaded_before = make_campaign()
    Campaign.objects.update(issued_count=5)

    loaded_before.name = "Another name"
    loaded_before.save()

    stored = Campaign.objects.get()
    assert (stored.name, stored.issued_count) == ("Another name", 5)


@pytest.mark.django_db
def test_the_benefit_is_frozen_by_the_first_coupon() -> None:
    campaign = make_campaign()
    Campaign.objects.update(issued_count=1)

    campaign.basis_points = 2000

    with pytest.raises(ValidationError) as refusal:
        campaign.full_clean()
    assert refusal.value.error_dict["basis_points"][0].code == "benefit_frozen"


@pytest.mark.django_db
def test_the_benefit_can_be_changed_before() -> None:
    campaign = make_campaign()

    campaign.basis_points = 2000

    campaign.full_clean()


@pytest.mark.django_db
def test_the_rest_can_be_changed_after_the_first_coupon() -> None:
    campaign = make_campaign()
    Campaign.objects.update(issued_count=1)

    campaign.ends_at = timezone.now() + HOUR

    campaign.full_clean()


@pytest.mark.django_db
def test_a_stock_below_what_is_issued_is_refused() -> None:
    make_campaign(stock=10)
    Campaign.objects.update(issued_count=5)
    campaign = Campaign.objects.get()

    campaign.stock = 4

    with pytest.raises(ValidationError) as refusal:
        campaign.full_clean()
    assert "stock" in refusal.value.message_dict


@pytest.mark.django_db
def test_a_stock_beyond_what_every_database_holds_is_refused() -> None:
    campaign = Campaign(**campaign_columns(stock=2**31))

    with pytest.raises(ValidationError) as refusal:
        campaign.full_clean()
    assert "stock" in refusal.value.message_dict


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "utc\x00"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    campaign = Campaign(**campaign_columns(time_zone=name))

    with pytest.raises(ValidationError) as refusal:
        campaign.clean_fields()
    assert "time_zone" in refusal.value.message_dict


@pytest.mark.django_db
def test_each_change_of_status_is_noted_once() -> None:
    campaign = make_campaign(status="draft")

    campaign.name = "No change of status"
    campaign.save()
    campaign.status = "active"
    campaign.save()
    campaign.save()

    assert [change.status for change in campaign.status_changes.all()] == ["draft", "active"]


@pytest.mark.django_db
def test_a_campaign_knows_the_status_it_had() -> None:
    campaign = make_campaign(status="ended")
    campaign.status_changes.all().delete()
    for hours, status in enumerate(["draft", "active", "paused", "ended"]):
        campaign.status_changes.create(status=status, changed_at=NOON + hours * HOUR)

    assert campaign.status_at(NOON - HOUR) == "draft"
    assert campaign.status_at(NOON + HOUR) == "active"
    assert campaign.status_at(NOON + 2 * HOUR - timedelta(microseconds=1)) == "active"
    assert campaign.status_at(NOON + 2 * HOUR) == "paused"
    assert campaign.status_at(NOON + 30 * HOUR) == "ended"


@pytest.mark.django_db
def test_a_status_changed_past_the_history_counts_for_all_time() -> None:
    make_campaign(status="active")
    Campaign.objects.update(status="paused")

    assert Campaign.objects.get().status_at(NOON) == "paused"
