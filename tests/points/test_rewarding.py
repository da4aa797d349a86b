"""How inviters are rewarded for new accounts."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Referral, User
from accounts.signals import UserRegistered
from events.envelope import Event
from events.models import Event as EventRow
from points import bookkeeping
from points.ledger import EntryKind
from points.models import Entry, PointsAccount, RewardDecision
from points.services import reward_inviters
from tests.points.factories import make_account, make_decision, make_rule
from tests.registrations import (
    all_registered,
    close,
    flag,
    make_people,
    make_person,
    refer,
    registered,
)

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def reward(*events: Event[UserRegistered]) -> None:
    """Decide in a transaction, as a drain does."""
    with transaction.atomic():
        reward_inviters(events)


def outcome(invitee: User) -> tuple[str, str] | None:
    """Return what was decided, or None."""
    decisions = RewardDecision.objects.filter(invitee=invitee)
    return decisions.values_list("outcome", "reason").first()


def account_of(user: User) -> PointsAccount:
    """Return somebody's account, as it is stored."""
    return PointsAccount.objects.get(user=user)


def published(type_: str) -> list[EventRow]:
    """Return the events of a type, in order."""
    return list(EventRow.objects.filter(type=type_).order_by("position"))


def test_an_inviter_is_credited() -> None:
    rule = make_rule(points=100)
    inviter, invitee = make_people(2)
    event = registered(invitee, inviter=inviter)

    reward(event)

    decision = RewardDecision.objects.get()
    assert (decision.inviter, decision.invitee, decision.rule) == (inviter, invitee, rule)
    assert (decision.outcome, decision.reason, decision.points) == ("granted", "", 100)
    assert (decision.event_id, decision.occurred_at) == (event.id, event.occurred_at)
    account = account_of(inviter)
    assert (account.balance, account.lifetime_earned, account.pending) == (100, 100, 0)
    entry = Entry.objects.get()
    assert (entry.account, entry.kind, entry.amount) == (account, "earn", 100)
    assert (entry.number, entry.balance_after) == (1, 100)
    assert (entry.reason, entry.event_id, entry.expires_at) == ("referral", event.id, None)
    assert entry.idempotency_key == f"reward:referral:{invitee.pk}"


def test_earned_points_are_published_with_their_cause() -> None:
    make_rule(points=100)
    inviter, invitee = make_people(2)
    event = registered(invitee, inviter=inviter)

    reward(event)

    (row,) = published("points.points_earned")
    assert (row.key, row.causation_id) == (str(inviter.pk), event.id)
    assert row.correlation_id == event.correlation_id
    assert row.data == {
        "entry_id": str(Entry.objects.get().pk),
        "user_id": str(inviter.pk),
        "amount": 100,
        "reason": "referral",
    }


def test_nobody_invited_nothing_is_decided() -> None:
    make_rule()
    event = registered(make_person())

    with CaptureQueriesContext(connection) as queries:
        reward_inviters([event])

    assert len(queries) == 0
    assert not RewardDecision.objects.exists()
    assert not PointsAccount.objects.exists()


def test_rewarding_again_changes_nothing() -> None:
    make_rule()
    inviter, invitee = make_people(2)
    event = registered(invitee, inviter=inviter)
    reward(event)

    reward(event, registered(invitee, inviter=inviter))

    assert account_of(inviter).balance == 100
    assert (RewardDecision.objects.count(), Entry.objects.count()) == (1, 1)
    assert len(published("points.points_earned")) == 1


def test_an_invitee_twice_in_a_batch_counts_once() -> None:
    make_rule()
    inviter, invitee = make_people(2)
    first, second = (registered(invitee, inviter=inviter) for _ in range(2))

    reward(second, first)

    assert account_of(inviter).balance == 100
    assert RewardDecision.objects.get().event_id == first.id


def test_several_invitees_in_a_batch_are_booked_one_after_another() -> None:
    make_rule(points=100)
    inviter = make_person()
    make_account(inviter, balance=7, lifetime_earned=50, version=3)
    invitees = make_people(3)

    reward(*reversed(all_registered(invitees, inviter)))

    entries = Entry.objects.order_by("number")
    assert [entry.number for entry in entries] == [4, 5, 6]
    assert [entry.balance_after for entry in entries] == [107, 207, 307]
    keys = [entry.idempotency_key for entry in entries]
    assert keys == [f"reward:referral:{invitee.pk}" for invitee in invitees]
    account = account_of(inviter)
    assert (account.balance, account.lifetime_earned, account.version) == (307, 350, 6)


def test_several_inviters_in_a_batch_get_their_own() -> None:
    make_rule(points=100)
    mei, tom, *invitees = make_people(5)
    inviters = [mei, tom, mei]

    reward(*[registered(i, inviter=by) for i, by in zip(invitees, inviters, strict=True)])

    assert (account_of(mei).balance, account_of(tom).balance) == (200, 100)


def test_a_debt_is_repaid_by_the_next_reward() -> None:
    make_rule(points=100)
    inviter, invitee = make_people(2)
    make_account(inviter, balance=-30)

    reward(registered(invitee, inviter=inviter))

    assert account_of(inviter).balance == 70
    assert Entry.objects.get().balance_after == 70


def test_without_an_active_rule_it_is_skipped_and_said() -> None:
    inviter, invitee = make_people(2)
    event = registered(invitee, inviter=inviter)

    reward(event)

    assert outcome(invitee) == ("skipped", "no_active_rule")
    (row,) = published("points.reward_skipped")
    assert (row.key, row.causation_id) == (str(inviter.pk), event.id)
    assert row.data == {
        "rule_kind": "referral",
        "inviter_id": str(inviter.pk),
        "invitee_id": str(invitee.pk),
        "reason": "no_active_rule",
    }


def test_the_rule_is_that_of_the_moment_of_registration() -> None:
    change = timezone.now() - DAY
    make_rule(version=1, points=100, active_until=change)
    make_rule(version=2, points=200, active_from=change)
    inviter, early, late = make_people(3)

    reward(
        registered(early, inviter=inviter, at=change - timedelta(microseconds=1)),
        registered(late, inviter=inviter, at=change),
    )

    amounts = Entry.objects.order_by("number").values_list("amount", flat=True)
    assert list(amounts) == [100, 200]


def test_of_two_active_versions_the_higher_counts() -> None:
    make_rule(version=2, points=200)
    make_rule(version=1, points=100)
    inviter, invitee = make_people(2)

    reward(registered(invitee, inviter=inviter))

    assert Entry.objects.get().amount == 200


def test_the_cap_in_all_serves_the_earliest() -> None:
    make_rule(cap_total=2)
    inviter, other, *invitees = make_people(6)
    events = [*all_registered(invitees[:3], inviter), registered(invitees[3], inviter=other)]

    reward(*reversed(events))

    assert [outcome(invitee) for invitee in invitees] == [
        ("granted", ""),
        ("granted", ""),
        ("skipped", "cap_total"),
        ("granted", ""),
    ]
    assert (account_of(inviter).balance, account_of(other).balance) == (200, 100)


def test_the_cap_in_all_counts_earlier_batches_and_versions() -> None:
    old = make_rule(version=1)
    make_rule(version=2, cap_total=2)
    inviter, *invitees = make_people(5)
    make_decision(inviter, invitees[0], rule=old)
    make_decision(inviter, invitees[1], rule=old, outcome="voided", reason="referral_voided")

    reward(registered(invitees[2], inviter=inviter))
    reward(registered(invitees[3], inviter=inviter))

    assert outcome(invitees[2]) == ("granted", "")
    assert outcome(invitees[3]) == ("skipped", "cap_total")


def test_a_pending_reward_counts_against_the_cap() -> None:
    make_rule(cap_total=1)
    inviter, held, other = make_people(3)
    refer(held, inviter, status="flagged")

    reward(*all_registered([held, other], inviter))

    assert outcome(held) == ("pending", "referral_flagged")
    assert outcome(other) == ("skipped", "cap_total")


def test_the_cap_per_period_moves_with_the_period() -> None:
    make_rule(cap_per_period=2, period_days=7)
    now = timezone.now()
    inviter, *invitees = make_people(5)
    days_ago = [14, 8, 7, 6]

    for invitee, days in zip(invitees, days_ago, strict=True):
        reward(registered(invitee, inviter=inviter, at=now - days * DAY))

    # The first is out of the third's period by then; the second and the third fill the fourth's.
    assert [outcome(invitee) for invitee in invitees] == [
        ("granted", ""),
        ("granted", ""),
        ("granted", ""),
        ("skipped", "cap_period"),
    ]


def test_the_cap_per_period_serves_the_earliest_of_a_batch() -> None:
    make_rule(cap_per_period=2, period_days=7)
    now = timezone.now()
    inviter, *invitees = make_people(5)
    moments = [now - 8 * DAY, now - 2 * DAY, now - DAY, now]
    events = [
        registered(invitee, inviter=inviter, at=at)
        for invitee, at in zip(invitees, moments, strict=True)
    ]

    reward(*events)

    assert [outcome(invitee) for invitee in invitees] == [
        ("granted", ""),
        ("granted", ""),
        ("granted", ""),
        ("skipped", "cap_period"),
    ]


@pytest.mark.parametrize(
    ("days_ago", "decided"),
    [
        ([40, 35, 100], ("granted", "")),  # far from the others
        ([40, 35, 65], ("granted", "")),  # the next is in its period, the one after is not
        ([40, 35, 64], ("skipped", "cap_period")),  # both are
        ([40, 20, 30], ("skipped", "cap_period")),  # in the midst
        ([60, 20, 40], ("granted", "")),  # no period has both
    ],
)
def test_a_late_registration_has_its_place_in_every_period_that_it_is_in(
    days_ago: list[int], decided: tuple[str, str]
) -> None:
    make_rule(cap_per_period=2, period_days=30)
    now = timezone.now()
    inviter, *invitees = make_people(4)

    for invitee, days in zip(invitees, days_ago, strict=True):
        reward(registered(invitee, inviter=inviter, at=now - days * DAY))

    assert [outcome(invitee) for invitee in invitees] == [("granted", "")] * 2 + [decided]


@pytest.mark.parametrize("cap", [{"cap_total": 1}, {"cap_per_period": 1, "period_days": 7}])
def test_a_void_referral_frees_its_place_before_points_has_heard_of_it(
    cap: dict[str, int],
) -> None:
    make_rule(**cap)
    inviter, void, next_one = make_people(3)
    referral = refer(void, inviter)
    reward(registered(void, inviter=inviter))
    Referral.objects.filter(pk=referral.pk).update(status="voided")

    reward(registered(next_one, inviter=inviter))

    assert outcome(next_one) == ("granted", "")


def test_a_flagged_referral_waits() -> None:
    make_rule(points=100, hold_days=3)
    inviter, invitee = make_people(2)
    refer(invitee, inviter, status="flagged")
    event = registered(invitee, inviter=inviter)

    reward(event)

    decision = RewardDecision.objects.get()
    assert (decision.outcome, decision.reason) == ("pending", "referral_flagged")
    assert decision.release_at == event.occurred_at + 3 * DAY
    account = account_of(inviter)
    assert (account.balance, account.pending, account.version) == (0, 100, 0)
    assert not Entry.objects.exists()
    assert not published("points.points_earned") + published("points.reward_skipped")


def test_an_approved_referral_does_not_wait() -> None:
    make_rule()
    inviter, invitee = make_people(2)
    refer(invitee, inviter, status="approved")

    reward(registered(invitee, inviter=inviter))

    assert outcome(invitee) == ("granted", "")


def test_a_void_referral_is_voided() -> None:
    make_rule()
    inviter, invitee = make_people(2)
    refer(invitee, inviter, status="voided")

    reward(registered(invitee, inviter=inviter))

    assert outcome(invitee) == ("voided", "referral_voided")
    assert account_of(inviter).pending == 0


def test_a_rule_with_days_held_makes_the_reward_wait() -> None:
    make_rule(points=100, hold_days=3)
    inviter, invitee, early = make_people(3)
    event = registered(invitee, inviter=inviter)

    reward(event, registered(early, inviter=inviter, at=timezone.now() - 3 * DAY))

    decision = RewardDecision.objects.get(invitee=invitee)
    assert (decision.outcome, decision.reason) == ("pending", "hold_period")
    assert decision.release_at == event.occurred_at + 3 * DAY
    assert outcome(early) == ("granted", "")
    account = account_of(inviter)
    assert (account.balance, account.pending) == (100, 100)


def test_a_closed_inviter_gets_nothing() -> None:
    make_rule()
    inviter, invitee = make_people(2)
    close(inviter)

    reward(registered(invitee, inviter=inviter))

    assert outcome(invitee) == ("skipped", "inviter_closed")


def test_the_reward_waits_while_the_invitee_is_under_review_but_not_where_they_left() -> None:
    make_rule(points=100)
    inviter, closed, flagged = make_people(3)
    close(closed)
    flag(flagged)

    reward(*all_registered([closed, flagged], inviter))

    assert outcome(closed) == ("granted", "")
    assert outcome(flagged) == ("pending", "invitee_flagged")
    assert (account_of(inviter).balance, account_of(inviter).pending) == (100, 100)


def test_points_expire_after_the_days_of_the_rule() -> None:
    make_rule(expires_days=90)
    inviter, invitee = make_people(2)

    reward(registered(invitee, inviter=inviter))

    entry = Entry.objects.get()
    assert entry.expires_at == entry.occurred_at + 90 * DAY


def test_an_account_changed_past_its_lock_is_noticed() -> None:
    account = make_account(make_person())
    entries = [
        bookkeeping.new_entry(stale, EntryKind.EARN, 10, idempotency_key=key)
        for key, stale in (("a", account), ("b", account_of(account.user)))
    ]

    bookkeeping.write(entries[:1], [account])
    with pytest.raises(IntegrityError), transaction.atomic():
        bookkeeping.write(entries[1:], [account])


def test_the_number_of_queries_does_not_grow_with_that_of_events() -> None:
    make_rule(cap_total=1, cap_per_period=1, period_days=7)

    assert count_queries(2) == count_queries(50) <= 17


def count_queries(invitees: int) -> int:
    """Return how many queries it takes to reward and refuse so many invitations."""
    inviters = make_people(2) + make_people(invitees)
    events = [
        registered(invitee, inviter=inviters[number // 2])
        for number, invitee in enumerate(make_people(invitees))
    ]
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        reward_inviters(events)
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])
