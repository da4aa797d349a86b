"""What staff can make of a campaign, and what is refused with a reason."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import User
from coupons import lifecycle
from coupons.models import Campaign, CampaignStatusChange
from coupons.refusals import Refused
from events.models import Event
from tests.coupons.factories import make_campaign
from tests.parallel import run_at_once

pytestmark = pytest.mark.django_db

STEPS: dict[str, Callable[..., Campaign]] = {
    "activate": lifecycle.activate,
    "pause": lifecycle.pause,
    "resume": lifecycle.resume,
    "end": lifecycle.end,
    "archive": lifecycle.archive,
}
ALLOWED = {
    ("draft", "activate"): "active",
    ("active", "pause"): "paused",
    ("active", "end"): "ended",
    ("paused", "resume"): "active",
    ("paused", "end"): "ended",
    ("ended", "archive"): "archived",
}
STATUSES = ["draft", "active", "paused", "ended", "archived"]
REFUSED = [(start, step) for start in STATUSES for step in STEPS if (start, step) not in ALLOWED]


@pytest.mark.parametrize(("start", "step"), list(ALLOWED))
def test_a_step_is_taken_and_noted_with_who_took_it(start: str, step: str) -> None:
    campaign = make_campaign(status=start)
    staff = User.objects.create_superuser("staff@example.com", "pw")

    STEPS[step](campaign_id=campaign.pk, by=staff)

    campaign.refresh_from_db()
    last = campaign.status_changes.last()
    assert last
    assert campaign.status == last.status == ALLOWED[start, step]
    assert (last.changed_by, campaign.status_changes.count()) == (staff, 2)


@pytest.mark.parametrize(("start", "step"), REFUSED)
def test_any_other_step_is_refused_and_leaves_no_trace(start: str, step: str) -> None:
    campaign = make_campaign(status=start)

    with pytest.raises(Refused) as refusal:
        STEPS[step](campaign_id=campaign.pk)

    campaign.refresh_from_db()
    assert refusal.value.code == "wrong_status"
    assert campaign.get_status_display() in refusal.value.sentence
    assert (campaign.status, campaign.status_changes.count()) == (start, 1)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"ends_at": timezone.now() - timedelta(days=1)}, "time_over"),
        (
            {
                "valid_days": None,
                "valid_from": timezone.now() - timedelta(days=2),
                "valid_until": timezone.now() - timedelta(days=1),
            },
            "validity_over",
        ),
    ],
)
def test_a_campaign_that_could_issue_nothing_is_not_activated(
    columns: dict[str, Any], code: str
) -> None:
    campaign = make_campaign(status="draft", **columns)

    with pytest.raises(Refused) as refusal:
        lifecycle.activate(campaign_id=campaign.pk)

    campaign.refresh_from_db()
    assert (refusal.value.code, campaign.status) == (code, "draft")
    assert campaign.status_changes.count() == 1


@pytest.mark.parametrize("status", ["draft", "archived", "paused"])
def test_a_step_back_is_refused_by_the_model_too(status: str) -> None:
    campaign = make_campaign(status="ended")

    campaign.status = status

    if status == "archived":
        campaign.full_clean()
    else:
        with pytest.raises(ValidationError) as refusal:
            campaign.full_clean()
        assert refusal.value.error_dict["__all__"][0].code == "wrong_status"


def test_a_clone_is_a_draft_with_the_same_terms_and_a_count_of_its_own() -> None:
    campaign = make_campaign(name="N" * 120, stock=5, issued_count=3, time_zone="Europe/Berlin")

    clone = lifecycle.clone_campaign(campaign_id=campaign.pk)

    clone.refresh_from_db()
    assert clone.pk != campaign.pk
    assert (clone.status, clone.issued_count, clone.stock) == ("draft", 0, 5)
    assert clone.terms_of_benefit() == campaign.terms_of_benefit()
    assert (clone.valid_days, clone.time_zone) == (30, "Europe/Berlin")
    assert clone.name.startswith("Copy of NNN")
    assert len(clone.name) == 120
    assert [change.status for change in clone.status_changes.all()] == ["draft"]
    clone.full_clean()


@pytest.mark.parametrize("stock", [5, 100, None])
def test_the_stock_can_be_changed_down_to_what_is_issued(stock: int | None) -> None:
    campaign = make_campaign(stock=10, issued_count=5)

    lifecycle.change_stock(campaign_id=campaign.pk, stock=stock)

    campaign.refresh_from_db()
    assert campaign.stock == stock


@pytest.mark.parametrize(
    ("stock", "code"),
    [(4, "stock_below_issued"), (-1, "stock_out_of_range"), (2_000_000_001, "stock_out_of_range")],
)
def test_no_other_stock_is_taken(stock: int, code: str) -> None:
    campaign = make_campaign(stock=10, issued_count=5)

    with pytest.raises(Refused) as refusal:
        lifecycle.change_stock(campaign_id=campaign.pk, stock=stock)

    campaign.refresh_from_db()
    assert (refusal.value.code, campaign.stock) == (code, 10)


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"status": "ended", "stock": 2}, "wrong_status"),
        ({"ends_at": timezone.now() - timedelta(hours=1), "stock": 2}, "wrong_status"),
        ({"starts_at": timezone.now() + timedelta(days=1), "stock": 2}, "wrong_status"),
        ({"stock": 1}, "sold_out"),
    ],
)
def test_a_retry_that_can_give_nobody_anything_is_refused(
    columns: dict[str, Any], code: str
) -> None:
    campaign = make_campaign(issued_count=1, **columns)

    with pytest.raises(Refused) as refusal:
        lifecycle.retry_sold_out(campaign_id=campaign.pk)

    assert refusal.value.code == code
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_end_a_campaign_at_once_one_does() -> None:
    campaign = make_campaign()

    def end() -> str:
        try:
            return lifecycle.end(campaign_id=campaign.pk).status
        except Refused as refusal:
            return refusal.code

    outcomes = run_at_once([end] * 8)

    assert sorted(outcomes) == ["ended"] + ["wrong_status"] * 7
    assert CampaignStatusChange.objects.filter(status="ended").count() == 1
    assert Event.objects.filter(type="coupons.campaign_ended").count() == 1


@pytest.mark.django_db(transaction=True)
def test_pausing_meanwhile_changes_no_other_column() -> None:
    campaign = make_campaign(stock=10)

    changes: list[Callable[[], object]] = [
        partial(lifecycle.pause, campaign_id=campaign.pk),
        partial(lifecycle.change_stock, campaign_id=campaign.pk, stock=20),
    ]
    run_at_once(changes)

    campaign.refresh_from_db()
    assert (campaign.status, campaign.stock) == ("paused", 20)
