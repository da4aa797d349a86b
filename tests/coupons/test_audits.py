"""The audit of newcomer coupons: what is lost is found and made once; the rest is only told."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from accounts import closing, referrals, services, standing
from accounts.models import User
from coupons import following
from coupons.audits import audit_standing, audit_welcome_coupons
from coupons.models import Campaign, Coupon, IssueDecision
from coupons.queries import FOLLOW_RECEIVER, WELCOME_RECEIVER
from coupons.states import coupon_state
from events.models import Delivery, Event
from events.operations.audits import FlawKind
from events.operations.pausing import pause
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_coupon
from tests.coupons.test_receiver import effects, register
from tests.invariants import without_constraint
from tests.reconciling import forget_deliveries, kinds, reconcile, statements
from tests.registrations import all_registered, make_people, registered

pytestmark = pytest.mark.django_db(transaction=True)

MISSING, TORN, DOUBLED = [(WELCOME_RECEIVER, k) for k in ("missing", "torn", "doubled")]


def lose_coupon(person: User) -> None:
    """Delete what a registration brought, as if the receiver had never run."""
    Coupon.objects.filter(user=person).delete()
    IssueDecision.objects.filter(user=person).delete()
    Campaign.objects.update(issued_count=F("issued_count") - 1)


def let_it_do_nothing(monkeypatch: pytest.MonkeyPatch, drain: Drain) -> None:
    """Deliver what is due while nobody follows accounts and referrals."""
    with monkeypatch.context() as forgetful:
        forgetful.setattr(following, "follow_people", lambda causes: None)
        drain()


@pytest.mark.parametrize("is_pruned", [False, True])
def test_a_lost_coupon_is_found_and_issued_once(drain: Drain, is_pruned: bool) -> None:
    make_campaign()
    lost, _ = register("mei"), register("tom")
    drain()
    lose_coupon(lost)
    if is_pruned:
        forget_deliveries(WELCOME_RECEIVER)

    found = reconcile("--receiver", WELCOME_RECEIVER)
    repaired = reconcile("--receiver", WELCOME_RECEIVER, "--repair")
    drain()

    assert kinds(found) == kinds(repaired) == [MISSING]
    assert found["findings"][0]["key"] == str(lost.pk)
    assert repaired["repaired"] == 1
    assert effects() == (2, 2, 2)
    assert Coupon.objects.filter(user=lost).count() == 1


def test_a_second_repair_finds_nothing(drain: Drain) -> None:
    make_campaign()
    lose = [register("mei"), register("tom")]
    drain()
    for person in lose:
        lose_coupon(person)

    first = reconcile("--repair")
    at_once = reconcile("--repair")
    drain()
    later = reconcile("--repair")

    assert kinds(first) == [MISSING, MISSING]
    assert kinds(at_once) == []  # they are on their way
    assert kinds(later) == []
    assert effects() == (2, 2, 2)


def test_nothing_is_written_without_repair_or_in_a_dry_run(drain: Drain) -> None:
    make_campaign()
    lose_me = register()
    drain()
    lose_coupon(lose_me)

    for arguments in ((), ("--dry-run",), ("--repair", "--dry-run")):
        assert reconcile(*arguments)["repaired"] == 0

    assert drain() == 0
    assert effects() == (0, 0, 0)


def test_refusals_are_decisions(drain: Drain) -> None:
    make_campaign(stock=1)
    make_campaign(audience="invited")
    make_campaign(status="paused")
    for name in ("mei", "tom"):
        register(name)
    drain()

    assert reconcile()["findings"] == []
    assert IssueDecision.objects.exclude(outcome="issued").exists()


def test_campaigns_owe_nothing_for_when_they_did_not_run() -> None:
    now = timezone.now()
    event = registered(make_people(1)[0], at=now - timedelta(days=1))
    make_campaign()  # made after the registration
    make_campaign(starts_at=now)
    make_campaign(status="draft")
    make_campaign(trigger="manual")
    over = make_campaign(ends_at=now - timedelta(days=2))
    over.status_changes.update(changed_at=now - timedelta(days=5))

    assert list(audit_welcome_coupons([event])) == []


def test_a_campaign_that_ran_and_has_ended_since_still_owes_its_decision() -> None:
    now = timezone.now()
    campaign = make_campaign()
    campaign.status_changes.update(changed_at=now - timedelta(days=2))
    event = registered(make_people(1)[0], at=now - timedelta(days=1))
    campaign.status = "ended"
    campaign.save()

    (flaw,) = audit_welcome_coupons([event])

    assert (flaw.event_id, flaw.kind) == (event.id, FlawKind.MISSING)


def test_a_decision_without_its_coupon_is_told_and_not_redelivered(drain: Drain) -> None:
    make_campaign()
    register()
    drain()
    Coupon.objects.all().delete()

    found = reconcile("--repair")

    assert kinds(found) == [TORN, ("coupons.stock", "figures")]
    assert found["repaired"] == 0
    assert Delivery.objects.get(receiver=WELCOME_RECEIVER).state == "done"


def test_a_coupon_without_its_decision_is_told() -> None:
    campaign, person = make_campaign(), make_people(1)[0]
    coupon = make_coupon(campaign, person)
    other = make_coupon(make_campaign(), person)
    Coupon.objects.filter(pk=coupon.pk).delete()
    Coupon.objects.filter(pk=other.pk).update(campaign=campaign)
    IssueDecision.objects.filter(campaign=campaign).update(campaign=make_campaign())

    flaws = list(audit_welcome_coupons([registered(person)]))

    assert (FlawKind.TORN, f"Campaign {campaign.pk} issued a coupon without a decision.") in [
        (flaw.kind, flaw.what) for flaw in flaws
    ]


def test_a_doubled_coupon_is_told_and_stays(drain: Drain) -> None:
    make_campaign()
    first, second = register("mei"), register("tom")
    drain()
    with without_constraint(IssueDecision, "coupons_issuedecision_once_per_user"):
        IssueDecision.objects.filter(user=second).update(user=first)
        Coupon.objects.filter(user=second).update(user=first)

        found = reconcile("--repair")

        assert kinds(found)[0] == DOUBLED
        assert Coupon.objects.filter(user=first).count() == 2


def test_a_figure_that_is_wrong_is_told_and_not_repaired(drain: Drain) -> None:
    campaign = make_campaign()
    register()
    drain()
    Campaign.objects.update(issued_count=2)

    found = reconcile("--repair")

    assert kinds(found) == [("coupons.stock", "figures")]
    assert found["findings"][0]["ids"] == [str(campaign.pk)]
    assert Campaign.objects.get().issued_count == 2


def test_the_grace_lets_young_events_be(drain: Drain) -> None:
    make_campaign()
    person = register()
    drain()
    lose_coupon(person)

    young = reconcile("--repair", grace="10m")
    Event.objects.update(occurred_at=F("occurred_at") - timedelta(minutes=11))
    IssueDecision.objects.update(decided_at=F("decided_at") - timedelta(minutes=11))
    Campaign.objects.get().status_changes.update(changed_at=timezone.now() - timedelta(days=1))
    old = reconcile("--repair", grace="10m")

    assert kinds(young) == []
    assert kinds(old) == [MISSING]


def test_an_audit_asks_for_all_events_at_once() -> None:
    for _ in range(3):
        make_campaign()
    few, many = all_registered(make_people(2)), all_registered(make_people(100))

    def ask(events: list) -> int:  # type: ignore[type-arg]
        return statements(lambda: list(audit_welcome_coupons(events)))

    assert ask(few) == ask(many) == 5


@pytest.mark.parametrize(("change", "state"), [("flag", "suspended"), ("close", "revoked")])
def test_a_coupon_that_did_not_follow_its_owner_is_found_and_brought_in_line(
    change: str, state: str, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_campaign()
    person = register()
    drain()
    if change == "flag":
        standing.flag_account(user_id=person.pk, reason="test")
    else:
        closing.close_account(user_id=person.pk, reason=closing.CloseReason.REQUESTED)
    let_it_do_nothing(monkeypatch, drain)

    first = reconcile("--receiver", FOLLOW_RECEIVER, "--repair")
    drain()
    second = reconcile("--receiver", FOLLOW_RECEIVER, "--repair")

    assert kinds(first) == [(FOLLOW_RECEIVER, "missing")]
    assert kinds(second) == []
    assert coupon_state(Coupon.objects.get(), at=timezone.now()) == state


def test_a_coupon_that_is_still_suspended_is_found_and_restored(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_campaign()
    person = register()
    drain()
    standing.flag_account(user_id=person.pk, reason="test")
    drain()
    standing.clear_account(user_id=person.pk, reason="test")
    let_it_do_nothing(monkeypatch, drain)

    found = reconcile("--repair")
    drain()

    assert kinds(found) == [(FOLLOW_RECEIVER, "missing")]
    assert Coupon.objects.get().suspended_at is None


def test_a_coupon_held_back_for_a_review_that_is_over_is_found_and_issued_once(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_campaign()
    person = register()
    standing.flag_account(user_id=person.pk, reason="test")
    drain()
    assert IssueDecision.objects.get().outcome == "held"
    standing.clear_account(user_id=person.pk, reason="test")
    let_it_do_nothing(monkeypatch, drain)

    found = reconcile("--repair")
    drain()

    assert kinds(found) == [(FOLLOW_RECEIVER, "missing")]
    assert effects() == (1, 1, 1)
    assert reconcile("--repair")["findings"] == []


@pytest.mark.parametrize("is_repair", [False, True])
def test_a_coupon_that_waits_for_a_receiver_that_is_paused_is_let_be(
    is_repair: bool, drain: Drain
) -> None:
    make_campaign()
    code = register("mei").referral_code
    tom = services.register(
        email="tom@example.com", password="a long enough one", referral_code=code
    ).user
    drain()
    referrals.void_referral(invitee_id=tom.pk, reason="test")
    drain()
    pause(FOLLOW_RECEIVER, by="mei", reason="a test")
    standing.flag_account(user_id=tom.pk, reason="test")
    drain()

    found = reconcile(*(["--repair"] if is_repair else []))
    drain()

    assert kinds(found) == []
    assert found["in_flight"] == 1
    assert coupon_state(Coupon.objects.get(user=tom), at=timezone.now()) == "usable"


def test_the_audit_of_standing_asks_for_all_events_at_once(drain: Drain) -> None:
    campaign = make_campaign()
    people = make_people(20)
    for person in people:
        make_coupon(campaign, person)
    events = all_registered(people)

    assert statements(lambda: list(audit_standing(events))) == 4
