"""Coupons follow their owners' accounts and referrals, in whatever order events arrive."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import Referral, User
from accounts.queries import AccountSummary, accounts_by_id
from accounts.signals import (
    AccountCleared,
    AccountClosed,
    AccountFlagged,
    ReferralApproved,
    ReferralVoided,
    account_cleared,
    account_closed,
    account_flagged,
    referral_approved,
    referral_voided,
)
from coupons import bulk_issuing, eligibility, following, redeeming
from coupons.locking import lock_campaigns
from coupons.models import Campaign, Coupon, IssueDecision, ProcessedEvent
from coupons.services import decide_registration_campaigns
from coupons.signals import coupon_issue_skipped
from events.envelope import Event as Envelope
from events.models import Delivery, DeliveryState, Event
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_coupon, make_decision, publish_registration
from tests.parallel import run_at_once
from tests.registrations import (
    all_registered,
    clear,
    close,
    flag,
    make_people,
    make_person,
    refer,
    registered,
)

pytestmark = pytest.mark.django_db(transaction=True)

FOLLOW = "coupons.follow_account"
VOID = "coupons.void_referral_benefit"
RELEASE = "coupons.release_referral_benefit"


def tell_flagged(person: User) -> None:
    """Put an account under review and publish it."""
    with transaction.atomic():
        flag(person)
        account_flagged.publish(AccountFlagged(user_id=person.pk, reason="by_staff"))


def tell_cleared(person: User) -> None:
    """End the review of an account and publish it."""
    with transaction.atomic():
        clear(person)
        account_cleared.publish(AccountCleared(user_id=person.pk, reason="by_staff"))


def tell_closed(person: User) -> None:
    """Close an account and publish it."""
    with transaction.atomic():
        close(person)
        account_closed.publish(AccountClosed(user_id=person.pk, reason="requested"))


def tell_voided(person: User) -> None:
    """Void somebody's referral and publish it."""
    with transaction.atomic():
        Referral.objects.filter(invitee=person).update(status="voided")
        inviter_id = Referral.objects.get(invitee=person).inviter_id
        referral_voided.publish(
            ReferralVoided(invitee_id=person.pk, inviter_id=inviter_id, reason="fraud")
        )


def tell_approved(person: User) -> None:
    """Approve somebody's referral and publish it."""
    with transaction.atomic():
        Referral.objects.filter(invitee=person).update(status="approved")
        inviter_id = Referral.objects.get(invitee=person).inviter_id
        referral_approved.publish(ReferralApproved(invitee_id=person.pk, inviter_id=inviter_id))


def tell_registered(person: User) -> None:
    """Publish that somebody registered."""
    referral = Referral.objects.filter(invitee=person).select_related("inviter").first()
    publish_registration(person, referral.inviter if referral else None)


def state_of(person: User) -> tuple[Any, ...]:
    """Return the outcome and reason of the one decision, and the coupon's status if it has one."""
    decision = IssueDecision.objects.get(user=person)
    coupon = Coupon.objects.filter(user=person).first()
    return (
        decision.outcome,
        decision.reason,
        (coupon.status, coupon.suspended_at is not None) if coupon else None,
    )


def put_back(receiver: str) -> None:
    """Make the receiver's deliveries due again, as a replay or a retry does."""
    Delivery.objects.filter(receiver=receiver).update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )


def a_coupon_to_suspend() -> User:
    """Flag somebody with a coupon."""
    person = make_coupon(make_campaign(issued_count=1), make_person()).user
    tell_flagged(person)
    return person


def a_coupon_to_revoke() -> User:
    """Void the referral of somebody with a coupon for invited people."""
    person = make_person()
    refer(person, make_person())
    make_coupon(make_campaign(audience="invited", issued_count=1), person)
    tell_voided(person)
    return person


def a_coupon_to_release() -> User:
    """Approve a referral for which a coupon was held back."""
    person = make_person()
    refer(person, make_person(), "flagged")
    campaign = make_campaign(audience="invited")
    make_decision(campaign, person, outcome="held", reason="referral_flagged")
    tell_approved(person)
    return person


each = pytest.mark.parametrize(
    ("act", "receiver", "state"),
    [
        (a_coupon_to_suspend, FOLLOW, ("issued", "", ("issued", True))),
        (a_coupon_to_revoke, VOID, ("voided", "referral_voided", ("revoked", False))),
        (a_coupon_to_release, RELEASE, ("issued", "", ("issued", False))),
    ],
)


@each
def test_once(act: Callable[[], User], receiver: str, state: Any, drain: Drain) -> None:
    person = act()

    drain()

    assert state_of(person) == state
    assert Delivery.objects.get(receiver=receiver).state == DeliveryState.DONE


@each
@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(
    act: Callable[[], User], receiver: str, state: Any, drain: Drain, inbox_is_lost: bool
) -> None:
    person = act()
    drain()
    number_of_events = Event.objects.count()
    put_back(receiver)
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    drain()

    assert state_of(person) == state
    assert Event.objects.count() == number_of_events


@each
def test_crash_then_retry(
    act: Callable[[], User],
    receiver: str,
    state: Any,
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = act()
    before = state_of(person)

    with monkeypatch.context() as crashing:
        crashing.setattr(coupon_issue_skipped, "publish_many", crash)
        drain()
    assert state_of(person) == before
    put_back(receiver)
    drain()

    assert state_of(person) == state


def crash(*args: object, **kwargs: object) -> None:
    """Fail after everything was written."""
    raise RuntimeError("crashed at the last moment")


Tell = Callable[[User], None]
FLAGGED = ("issued", "", ("issued", True))
ISSUED = ("issued", "", ("issued", False))


@pytest.mark.parametrize(
    ("story", "ends"),
    [
        ([tell_flagged], {("issued", "", ("issued", True)), ("held", "account_flagged", None)}),
        ([tell_flagged, tell_cleared], {ISSUED}),
        ([tell_flagged, tell_cleared, tell_flagged, tell_cleared], {ISSUED}),
        (
            [tell_closed],
            {("voided", "account_closed", ("revoked", False)), ("voided", "account_closed", None)},
        ),
        (
            [tell_flagged, tell_closed],
            {
                ("voided", "account_closed", ("revoked", False)),
                ("voided", "account_closed", ("revoked", True)),
                ("voided", "account_closed", None),
            },
        ),
        (
            [tell_voided],
            {
                ("voided", "referral_voided", ("revoked", False)),
                ("voided", "referral_voided", None),
            },
        ),
    ],
)
def test_the_registration_may_arrive_at_any_point_of_the_story(
    story: Sequence[Tell], ends: set[Any], drain: Drain
) -> None:
    for at in range(len(story) + 1):
        Campaign.objects.update(status="draft")
        Campaign.objects.all().update(ends_at=timezone.now())
        make_campaign(audience="invited", starts_at=timezone.now() - timedelta(days=1))
        person = make_person()
        refer(person, make_person())
        for number, tell in enumerate(story):
            if number == at:
                tell_registered(person)
                drain()
            tell(person)
            drain()
        if at == len(story):
            tell_registered(person)
            drain()

        assert state_of(person) in ends, at


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_all_deliveries_may_arrive_in_any_order_in_the_end(order: Sequence[int]) -> None:
    make_campaign(audience="invited")
    person = make_person()
    refer(person, make_person())
    registration = registered(person, inviter=make_person())
    close(person)
    Referral.objects.update(status="voided")
    deliveries: list[Callable[[], None]] = [
        lambda: decide_registration_campaigns([registration]),
        lambda: following.follow_people({person.pk: registration}),  # the account's
        lambda: following.follow_people({person.pk: registration}),  # the referral's
        lambda: decide_registration_campaigns([registration]),
    ]

    for index in order:
        with transaction.atomic():
            deliveries[index]()

    assert state_of(person) == ("voided", "account_closed", None)


def test_what_was_redeemed_stays_redeemed(drain: Drain) -> None:
    person = make_person()
    coupon = make_coupon(make_campaign(), person)
    redeeming.redeem(code=coupon.code, order_ref="A", order_amount=100, by=person)

    for tell in (tell_flagged, tell_closed):
        tell(person)
        drain()

    assert state_of(person) == ("issued", "", ("redeemed", False))
    assert not Event.objects.filter(type="coupons.coupon_revoked").exists()


def test_revoking_is_published_once_with_its_cause_and_gives_no_stock_back(drain: Drain) -> None:
    campaign = make_campaign(stock=1, issued_count=1)
    coupon = make_coupon(campaign, make_person())

    tell_closed(coupon.user)
    drain()

    campaign.refresh_from_db()
    row = Event.objects.get(type="coupons.coupon_revoked")
    assert row.data == {
        "coupon_id": str(coupon.pk),
        "campaign_id": str(campaign.pk),
        "user_id": str(coupon.user_id),
        "reason": "account_closed",
    }
    assert row.causation_id == Event.objects.get(type="accounts.account_closed").event_id
    assert campaign.issued_count == 1


def test_clearing_issues_what_was_held_while_stock_lasts(drain: Drain) -> None:
    campaign = make_campaign(stock=1)
    first, second = make_people(2)
    for person in (first, second):
        flag(person)
        make_decision(campaign, person, outcome="held", reason="account_flagged")

    for person in (first, second):
        tell_cleared(person)
    drain()

    assert state_of(first) == ISSUED
    assert state_of(second) == ("skipped", "sold_out", None)


def test_clearing_in_a_pause_goes_on_holding_for_the_pause(drain: Drain) -> None:
    person = make_person()
    flag(person)
    make_decision(make_campaign(status="paused"), person, outcome="held", reason="account_flagged")

    tell_cleared(person)
    drain()

    assert state_of(person) == ("held", "campaign_paused", None)


def test_a_flagged_account_of_an_ended_campaign_is_not_held_for_ever(drain: Drain) -> None:
    campaign = make_campaign()
    person = make_person()
    event = registered(person)
    campaign.status = "ended"
    campaign.save()
    flag(person)

    with transaction.atomic():
        decide_registration_campaigns([event])

    assert state_of(person) == ("skipped", "campaign_ended", None)


def test_a_flagged_referral_holds_coupons_for_invited_people_only(drain: Drain) -> None:
    for_all, for_invited = make_campaign(), make_campaign(audience="invited")
    person = make_person()
    refer(person, make_person(), "flagged")

    tell_registered(person)
    drain()

    decisions = IssueDecision.objects.filter(user=person)
    reasons = dict(decisions.values_list("campaign_id", "reason"))
    assert reasons == {for_all.pk: "", for_invited.pk: "referral_flagged"}
    tell_approved(person)
    drain()
    assert set(decisions.values_list("outcome", flat=True)) == {"issued"}


def test_a_voided_referral_takes_only_the_coupon_for_invited_people(drain: Drain) -> None:
    for_all, for_invited = make_campaign(), make_campaign(audience="invited")
    person = make_person()
    refer(person, make_person())
    tell_registered(person)
    drain()

    tell_voided(person)
    drain()

    statuses = dict(Coupon.objects.values_list("campaign_id", "status"))
    assert statuses == {for_all.pk: "issued", for_invited.pk: "revoked"}


@pytest.mark.parametrize("trigger", ["registration", "manual"])
def test_a_person_who_had_an_account_before_is_skipped(
    trigger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def returning(user_ids: Any) -> dict[Any, AccountSummary]:
        found = accounts_by_id(user_ids)
        return {pk: replace(account, is_returning=True) for pk, account in found.items()}

    monkeypatch.setattr(eligibility, "accounts_by_id", returning)
    person = make_person()
    campaign = make_campaign()
    with transaction.atomic():
        decide_registration_campaigns([registered(person)])

    standing = eligibility.judge_standing(
        Campaign(trigger=trigger), eligibility.people_by_id([person.pk])[person.pk]
    )

    assert IssueDecision.objects.get(campaign=campaign).reason == "returning_person"
    assert (standing is None) == (trigger == "manual")


def test_the_number_of_queries_does_not_grow_with_that_of_people() -> None:
    assert count_queries(2) == count_queries(50) <= 22


def count_queries(number: int) -> int:
    """Return how many queries it takes to follow people of all standings in two campaigns."""
    one, other = make_campaign(stock=1000), make_campaign(stock=1000)
    people = make_people(3 * number)
    for index, person in enumerate(people):
        make_coupon(one, person)
        make_decision(other, person, outcome="held", reason="account_flagged")
        [flag, close, clear][index % 3](person)
    events: list[Envelope[Any]] = list(all_registered(people))
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        following.follow_people(
            {person.pk: event for person, event in zip(people, events, strict=True)}
        )
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])


def locked_for(person: User) -> set[Campaign]:
    """Return the campaigns that are locked to follow a person."""
    with transaction.atomic():
        return set(lock_campaigns(following.may_concern([person.pk])))


def test_campaigns_that_have_nothing_to_do_with_a_person_are_not_locked() -> None:
    now = timezone.now()
    person = make_person()
    for columns in (
        {"trigger": "manual"},
        {"starts_at": now + timedelta(days=1)},
        {"ends_at": now - timedelta(days=1)},
    ):
        make_campaign(**columns)

    assert locked_for(person) == set()


def test_campaigns_that_decided_about_a_person_or_may_be_doing_so_are_locked() -> None:
    person, staff = make_people(2)
    decided = make_campaign(trigger="manual", status="ended")
    make_decision(decided, person, outcome="held", reason="account_flagged")
    at_registration, listed = make_campaign(), make_campaign(trigger="manual")
    bulk_issuing.start(campaign_id=listed.pk, people=str(person.pk), by=staff)

    assert locked_for(person) == {decided, at_registration, listed}


def test_closing_while_a_list_is_worked_off_leaves_nothing_usable() -> None:
    campaign = make_campaign(trigger="manual")
    *people, staff = make_people(9)
    listed = "\n".join(str(person.pk) for person in people)
    bulk_issue = bulk_issuing.start(campaign_id=campaign.pk, people=listed, by=staff)

    def close_and_follow(person: User) -> None:
        with transaction.atomic():
            close(person)
        with transaction.atomic():
            following.follow_people({person.pk: registered(person)})

    def issue() -> None:
        with transaction.atomic():
            bulk_issuing.issue_next_chunk(bulk_issue_id=bulk_issue.pk, event_id=uuid7())

    closings: list[Callable[[], None]] = [partial(close_and_follow, each) for each in people]

    run_at_once([issue, *closings])

    assert not Coupon.objects.filter(status="issued").exists()
    outcomes = IssueDecision.objects.values_list("outcome", "reason").distinct()
    assert list(outcomes.order_by()) == [("voided", "account_closed")]


def test_closing_while_the_registration_is_decided_leaves_nothing_usable() -> None:
    make_campaign()
    people = make_people(8)

    def close_and_follow(person: User) -> None:
        with transaction.atomic():
            close(person)
        with transaction.atomic():
            following.follow_people({person.pk: registered(person)})

    def decide(person: User) -> None:
        with transaction.atomic():
            decide_registration_campaigns([registered(person)])

    run_at_once([partial(work, person) for person in people for work in (decide, close_and_follow)])

    assert not Coupon.objects.filter(status="issued").exists()
    outcomes = IssueDecision.objects.values_list("outcome", "reason").distinct()
    assert list(outcomes.order_by()) == [("voided", "account_closed")]
