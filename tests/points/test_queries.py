"""What the wallet reads."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Delivery
from points.queries import (
    Summary,
    entries_of,
    points_per_invitation,
    summary_of,
    undelivered_among,
)
from tests.coupons.factories import publish_registration
from tests.points.factories import make_account, make_entry, make_rule
from tests.registrations import make_people, make_person

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def test_who_never_had_points_has_none() -> None:
    assert summary_of(make_person().pk) == Summary()


def test_an_account_is_summed_up_without_what_has_lapsed() -> None:
    mei, other = make_people(2)
    now = timezone.now()
    account = make_account(mei, balance=20, pending=5, lifetime_earned=30, frozen_at=now)
    make_entry(account, expires_at=now - HOUR)
    make_entry(account, expires_at=now + 2 * HOUR)
    make_entry(account, expires_at=now + HOUR)
    make_entry(account)
    make_entry(make_account(other), expires_at=now + HOUR / 2)

    assert summary_of(mei.pk) == Summary(
        balance=10, pending=5, frozen=True, lifetime_earned=30, next_expiry=now + HOUR
    )


def test_the_newest_entries_come_first() -> None:
    account = make_account(make_person())
    entries = [make_entry(account, reason=reason) for reason in ("", "referral", "goodwill")]

    lines = entries_of(account.pk, limit=2)

    assert [line.id for line in lines] == [entries[2].pk, entries[1].pk]
    assert [line.reason_label for line in lines] == ["goodwill", "referral"]
    assert (lines[1].kind, lines[1].kind_label) == ("earn", "earned")
    assert (lines[1].amount, lines[1].balance_after) == (10, 10)
    assert lines[1].occurred_at == entries[1].occurred_at


def test_an_invitation_brings_what_the_active_rule_says() -> None:
    now = timezone.now()
    assert points_per_invitation() is None

    make_rule(version=4, points=400, active_from=now + HOUR)
    make_rule(version=3, points=300, active_from=now - 2 * HOUR, active_until=now)
    make_rule(version=2, points=200)
    make_rule(version=1, points=100)

    assert points_per_invitation() == 200


def test_a_registration_that_was_just_published_is_undelivered() -> None:
    inviter, mei, other = make_people(3)
    for person in (mei, other):
        publish_registration(person, inviter)

    assert undelivered_among([mei.pk, inviter.pk]) == {mei.pk}
    assert undelivered_among([]) == set()


@pytest.mark.parametrize(
    ("columns", "owes"),
    [
        ({"state": "dead"}, True),
        ({"state": "waiting"}, True),
        ({"state": "done", "finished_at": timezone.now()}, False),
        ({"state": "skipped", "finished_at": timezone.now(), "skipped_by": "staff"}, False),
    ],
)
def test_what_is_dead_is_undelivered_and_what_is_finished_is_not(
    columns: dict[str, object], owes: bool
) -> None:
    inviter, mei = make_people(2)
    publish_registration(mei, inviter)
    Delivery.objects.update(due_at=None, **columns)

    assert undelivered_among([mei.pk]) == ({mei.pk} if owes else set())


@pytest.mark.parametrize(
    ("kind", "reason", "labels"),
    [
        ("earn", "referral", ("earned", "referral")),
        ("spend", "order-1", ("spent", "order-1")),
        ("spend_rollback", "order-1", ("spending undone", "order-1")),
        ("expire", "", ("expired", "")),
        ("reversal", "referral_voided", ("reversed", "the referral was declared void")),
        ("adjust", "goodwill", ("adjusted by staff", "goodwill")),
    ],
)
def test_each_kind_of_entry_is_told_in_words(
    kind: str, reason: str, labels: tuple[str, str]
) -> None:
    account = make_account(make_person())
    other = make_entry(account)
    make_entry(
        account,
        kind=kind,
        amount=-1 if kind in {"spend", "expire"} else 1,
        reason=reason,
        actor=make_person(),
        reverses=other if kind in {"spend_rollback", "reversal"} else None,
        lot=other if kind == "expire" else None,
    )

    line = entries_of(account.pk)[0]

    assert (line.kind_label, line.reason_label) == labels
