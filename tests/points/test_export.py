"""People can take along what points keeps of them."""

import json
from typing import Any

import pytest

from accounts.models import User
from accounts.queries import export_account
from points.spending import spend
from tests.points.factories import credit, make_decision, make_rule
from tests.registrations import make_people, make_person

pytestmark = pytest.mark.django_db


def exported(person: User) -> dict[str, Any]:
    """Return what a person is given, after it was text."""
    section: dict[str, Any] = json.loads(json.dumps(export_account(person.pk)["points"]))
    return section


def test_somebody_without_points_gets_zeros_and_empty_lists() -> None:
    assert exported(make_person()) == {
        "balance": 0,
        "pending": 0,
        "lifetime_earned": 0,
        "frozen": False,
        "entries": [],
        "rewards": [],
    }


def test_balance_entries_and_rewards_are_given_to_their_owner_alone() -> None:
    make_rule()
    person, invitee, other, shop = make_people(4)
    earned = credit(person, 100)
    spend(user_id=person.pk, amount=30, order_ref="A-1", actor_id=shop.pk)
    credit(other, 7)
    make_decision(person, invitee, outcome="skipped", reason="cap_total")
    make_decision(other, person)

    section = exported(person)

    assert (section["balance"], section["lifetime_earned"]) == (70, 100)
    assert [(e["kind"], e["amount"], e["reason"]) for e in section["entries"]] == [
        ("earn", 100, "referral"),
        ("spend", -30, "A-1"),
    ]
    assert section["entries"][0]["occurred_at"] == earned.occurred_at.isoformat()
    [reward] = section["rewards"]
    assert (reward["outcome"], reward["reason"]) == ("skipped", "cap_total")
    for somebody in (invitee, other, shop):
        assert str(somebody.pk) not in json.dumps(section)
