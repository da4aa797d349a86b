"""Points lapse, whenever the run comes."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.models import Event
from points import expiry
from points.due import settle_due
from points.expiry import Expired, expire_due, planned_expiry
from points.models import Entry, Lot, PointsAccount
from points.rebuilding import differences
from points.refusals import InsufficientPoints
from points.spending import spend
from tests.points.factories import credit
from tests.registrations import make_people, make_person

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def run_command(*arguments: str) -> Any:
    """Run the command and return its document."""
    out = StringIO()
    call_command("expire_points", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def lapse(people: int, lots: int = 1) -> None:
    """Give people lots of 10 points that have lapsed."""
    for person in make_people(people):
        for _ in range(lots):
            credit(person, 10, expires_at=timezone.now() - HOUR)


def test_what_is_left_of_a_credit_lapses_with_it() -> None:
    person, now = make_person(), timezone.now()
    kept = credit(person, 5, expires_at=now + HOUR)
    lapsed = credit(person, 10, expires_at=now)

    assert expire_due(now=now) == Expired(lots=1, points=10)

    entry = Entry.objects.get(kind="expire")
    assert (entry.amount, entry.lot, entry.balance_after) == (-10, lapsed, 5)
    assert dict(Lot.objects.values_list("pk", "remaining")) == {kept.pk: 5, lapsed.pk: 0}
    assert Event.objects.get(type="points.points_expired").data == {
        "entry_id": str(entry.pk),
        "user_id": str(person.pk),
        "amount": 10,
        "credit_entry_id": str(lapsed.pk),
    }


def test_a_second_run_finds_nothing() -> None:
    lapse(people=2)
    expire_due(now=timezone.now())

    assert expire_due(now=timezone.now()) == Expired()
    assert Entry.objects.filter(kind="expire").count() == 2


def test_a_run_does_as_much_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOTS_AT_ONCE", 2)
    lapse(people=3, lots=2)
    steps: list[int] = []

    first = expire_due(now=timezone.now(), limit=5, progress=steps.append)

    assert (first.lots, steps) == (5, [2, 2, 1])
    assert expire_due(now=timezone.now()).lots == 1
    assert set(PointsAccount.objects.values_list("balance", flat=True)) == {0}


def test_points_of_frozen_and_closed_accounts_lapse_too() -> None:
    lapse(people=2)
    frozen, closed = PointsAccount.objects.all()
    PointsAccount.objects.filter(pk=frozen.pk).update(frozen_at=timezone.now())
    PointsAccount.objects.filter(pk=closed.pk).update(closed_at=timezone.now())

    assert expire_due(now=timezone.now()).points == 20


def test_the_schedule_does_what_is_due() -> None:
    lapse(people=1)

    settle_due()

    assert PointsAccount.objects.get().balance == 0


def test_the_plan_writes_nothing() -> None:
    lapse(people=2, lots=2)

    assert planned_expiry(timezone.now()) == Expired(lots=4, points=40)
    plan = run_command("--dry-run")

    assert (plan["dry_run"], plan["lots"], plan["points"]) == (True, 4, 40)
    assert not Entry.objects.filter(kind="expire").exists()


def test_the_command_expires() -> None:
    lapse(people=2, lots=2)

    done = run_command()

    assert (done["dry_run"], done["lots"], done["points"]) == (False, 4, 40)
    assert run_command()["lots"] == 0


def test_the_number_of_queries_does_not_grow_with_that_of_accounts() -> None:
    assert count_queries(2) == count_queries(40) <= 16


def count_queries(people: int, *, without_lot: bool = False) -> int:
    """Return how many queries it takes to expire the lots of so many."""
    lapse(people, lots=2)
    if without_lot:  # of one of the two credits of each
        Lot.objects.filter(remaining__gt=0, number=1).delete()
    with CaptureQueriesContext(connection) as queries:
        expire_due(now=timezone.now())
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])


def test_a_credit_of_a_release_that_knew_no_lots_lapses_all_the_same() -> None:
    person = make_person()
    credit(person, 10, expires_at=timezone.now() - HOUR)
    lapsed = credit(person, 90, expires_at=timezone.now() - HOUR)
    credit(person, 5)
    Lot.objects.filter(pk=lapsed.pk).delete()

    with pytest.raises(InsufficientPoints):
        spend(user_id=person.pk, amount=6, order_ref="o", actor_id=None)
    spend(user_id=person.pk, amount=5, order_ref="o", actor_id=None)

    assert PointsAccount.objects.get().balance == 0
    assert list(differences()) == []


def test_the_number_of_queries_does_not_grow_with_that_of_accounts_without_lots() -> None:
    assert count_queries(2, without_lot=True) == count_queries(20, without_lot=True) <= 26
