"""The campaign funnel: counted once per event, rebuilt at any time, read by day."""

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from coupons import redeeming
from coupons.funnel import campaign_funnel, days_of, funnels_of
from coupons.funnel_steps import FunnelStep
from coupons.models import Campaign, Coupon, ProcessedEvent
from events.models import DeliveryState, Event
from events.operations import projections
from events.operations.projections import Rebuilt, rebuild
from events.operations.replay import replay
from events.operations.selection import Selection
from tests.conftest import Drain
from tests.coupons.factories import make_campaign
from tests.coupons.test_receiver import register
from tests.probe.observe import make_due
from tests.reconciling import kinds, reconcile, statements

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "coupons.project_funnel"


def steps() -> Counter[tuple[Any, str, date]]:
    """Return how often each step is there, by campaign, kind and day."""
    return Counter(FunnelStep.objects.values_list("campaign_id", "kind", "day"))


def use(coupon: Coupon, order_ref: str = "A-1") -> Any:
    """Use a coupon for an order."""
    return redeeming.redeem(
        code=coupon.code, order_ref=order_ref, order_amount=5000, by=coupon.user
    )


@pytest.fixture
def campaign(drain: Drain) -> Campaign:
    """Return a campaign with a stock of two for three people, one coupon used, another undone."""
    made = make_campaign(stock=2)
    for name in ("mei", "tom", "ada"):
        register(name)
    drain()
    first, second = Coupon.objects.order_by("pk")
    use(first)
    redeeming.roll_back(redemption_id=use(second, "A-2").pk, by=second.user)
    return made


def put_back() -> None:
    """Make the receiver's deliveries due again, as an operator's replay does."""
    replay(Selection(state=DeliveryState.DONE, receiver=RECEIVER))


def test_once(campaign: Campaign, drain: Drain) -> None:
    drain()

    funnel = funnels_of([campaign.pk])[campaign.pk]
    counts = funnel.steps
    assert (funnel.decided, counts.issued, counts.refused, counts.used) == (3, 2, 1, 1)
    assert (counts.redeemed, counts.rolled_back) == (2, 1)


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(campaign: Campaign, drain: Drain, inbox_is_lost: bool) -> None:
    drain()
    before = steps()
    if inbox_is_lost:
        ProcessedEvent.objects.filter(receiver=RECEIVER).delete()
    put_back()

    drain()

    assert steps() == before


def test_crash_then_retry(
    campaign: Campaign, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("crashed after everything was written")

    with monkeypatch.context() as crashing:
        crashing.setattr("events.delivery.settle.finish", crash)
        drain()
    make_due()
    drain()

    assert FunnelStep.objects.count() == 6


def test_what_is_rebuilt_is_what_was_counted_also_with_replays_in_between(
    campaign: Campaign, drain: Drain
) -> None:
    drain()
    counted = steps()
    FunnelStep.objects.filter(kind="issued").delete()
    put_back()

    rebuilt = rebuild(campaign_funnel)
    drain()
    again = rebuild(campaign_funnel)

    assert steps() == counted
    assert rebuilt == Rebuilt(events=6, added=2)
    assert again == Rebuilt(events=6)


def test_events_delivered_during_a_rebuild_are_counted_once(
    campaign: Campaign, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections, "CHUNK_SIZE", 2)
    late: list[int] = []

    def deliver_more(count: int) -> None:
        if not late:
            late.append(count)
            register("late")
            drain()

    result = rebuild(campaign_funnel, progress=deliver_more)

    assert late
    assert result.events == 7
    assert steps().total() == FunnelStep.objects.count() == 7
    assert rebuild(campaign_funnel) == Rebuilt(events=7)


def test_what_is_wrong_is_corrected_and_what_is_of_no_event_goes(
    campaign: Campaign, drain: Drain
) -> None:
    drain()
    right = steps()
    FunnelStep.objects.filter(kind="refused").update(kind="issued")
    FunnelStep.objects.create(
        event_id=uuid4(), campaign=campaign, day=date(2020, 1, 1), kind="issued"
    )

    planned = rebuild(campaign_funnel, dry_run=True)
    unchanged = steps() != right
    done = rebuild(campaign_funnel)

    assert unchanged
    assert planned == done == Rebuilt(events=6, corrected=1, removed=1)
    assert steps() == right


def test_days_are_those_of_the_campaigns_time_zone(drain: Drain) -> None:
    campaign = make_campaign(time_zone="Asia/Shanghai")
    register()
    drain()
    Event.objects.filter(type="coupons.coupon_issued").update(
        occurred_at=datetime(2026, 11, 22, 16, 30, tzinfo=UTC)
    )

    result = rebuild(campaign_funnel)

    assert result.corrected == 1
    assert [(d.day, d.steps.issued) for d in days_of(campaign.pk)] == [(date(2026, 11, 23), 1)]
    assert days_of(campaign.pk, since=date(2026, 11, 24)) == []
    assert days_of(campaign.pk, until=date(2026, 11, 23)) == []


def test_queries_do_not_grow_with_the_campaigns_or_the_events(
    campaign: Campaign, drain: Drain
) -> None:
    drain()
    others = [make_campaign().pk for _ in range(3)]

    assert statements(lambda: funnels_of([campaign.pk, *others])) == 2
    assert statements(lambda: days_of(campaign.pk)) == 1
    few = statements(lambda: rebuild(campaign_funnel))
    for number in range(5):
        register(f"person{number}")
    drain()
    assert statements(lambda: rebuild(campaign_funnel)) == few


def test_a_lost_step_is_found_by_reconcile(campaign: Campaign, drain: Drain) -> None:
    drain()
    FunnelStep.objects.filter(kind="refused").delete()

    found = reconcile("--receiver", RECEIVER, "--repair")
    drain()

    assert kinds(found) == [(RECEIVER, "missing")]
    assert FunnelStep.objects.count() == 6


def test_the_command_says_what_it_did(
    campaign: Campaign, drain: Drain, capsys: pytest.CaptureFixture[str]
) -> None:
    drain()
    FunnelStep.objects.all().delete()

    call_command("rebuild_projections", "coupons.funnel", "--dry-run")
    call_command("rebuild_projections")

    out = capsys.readouterr().out
    line = "coupons.funnel: 6 events; rows: 6 added, 0 corrected, 0 removed"
    assert out.startswith(f"{line}\nNothing was written.\n{line}\npoints.funnel: ")
    assert out.endswith("Rebuilt.\n")


def test_an_unknown_projection_is_refused() -> None:
    with pytest.raises(CommandError, match=r"no projection 'coupon\.funnel'. There are") as error:
        call_command("rebuild_projections", "coupon.funnel")

    assert error.value.returncode == 2
