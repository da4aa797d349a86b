"""What the database refuses, whoever writes to it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from points.models import Entry, PointsAccount, RewardDecision, RewardRule
from tests.points.factories import (
    make_account,
    make_decision,
    make_entry,
    make_rule,
)
from tests.registrations import make_people, make_person

EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 1, tzinfo=UTC)

BAD_RULES: list[tuple[str, dict[str, Any]]] = [
    ("kind_known", {"kind": "birthday"}),
    ("positive", {"points": 0}),
    ("positive", {"version": 0}),
    ("points_limited", {"points": 1_000_000_001}),
    ("counts_limited", {"version": 1_000_000_001}),
    ("counts_limited", {"cap_total": 1_000_000_001}),
    ("counts_limited", {"cap_per_period": 1_000_000_001, "period_days": 5}),
    ("caps_positive", {"cap_total": 0}),
    ("caps_positive", {"expires_days": 0}),
    ("cap_has_period", {"cap_per_period": 5}),
    ("cap_has_period", {"period_days": 5}),
    ("cap_has_period", {"cap_per_period": 0, "period_days": 5}),
    ("cap_has_period", {"cap_per_period": 5, "period_days": 0}),
    ("days_limited", {"hold_days": 3651}),
    ("days_limited", {"expires_days": 3651}),
    ("days_limited", {"cap_per_period": 5, "period_days": 3651}),
    ("ends_after_start", {"active_from": LATER, "active_until": LATER}),
    ("ends_after_start", {"active_from": LATER, "active_until": EARLIER}),
]
BAD_DECISIONS: list[tuple[str, dict[str, Any]]] = [
    ("kind_known", {"rule_kind": "birthday"}),
    ("outcome_known", {"outcome": "maybe", "reason": "cap_total"}),
    ("refusal_has_reason", {"outcome": "skipped"}),
    ("refusal_has_reason", {"outcome": "granted", "reason": "cap_total"}),
    ("points_by_rule", {"rule": None}),
    ("points_by_rule", {"points": 0}),
    ("points_by_rule", {"outcome": "pending", "reason": "hold_period", "rule": None}),
]
BAD_ACCOUNTS: list[tuple[str, dict[str, Any]]] = [
    ("not_negative", {"pending": -1}),
    ("not_negative", {"lifetime_earned": -1}),
    ("not_negative", {"version": -1}),
]
BAD_ENTRIES: list[tuple[str, dict[str, Any]]] = [
    ("number_from_1", {"number": 0}),
    ("kind_has_its_sign", {"kind": "gift"}),
    ("kind_has_its_sign", {"kind": "earn", "amount": 0}),
    ("kind_has_its_sign", {"kind": "earn", "amount": -1}),
    ("kind_has_its_sign", {"kind": "spend", "amount": 0}),
    ("kind_has_its_sign", {"kind": "spend", "amount": 1}),
    ("kind_has_its_sign", {"kind": "spend_rollback", "amount": 0, "reverses": "another"}),
    ("kind_has_its_sign", {"kind": "spend_rollback", "amount": -1, "reverses": "another"}),
    ("kind_has_its_sign", {"kind": "expire", "amount": 1, "lot": "another"}),
    ("kind_has_its_sign", {"kind": "adjust", "amount": 0, "reason": "r", "actor": "staff"}),
    ("has_idempotency_key", {"idempotency_key": ""}),
    ("undoing_names_entry", {"kind": "reversal", "amount": -1}),
    ("undoing_names_entry", {"kind": "spend_rollback", "amount": 1}),
    ("undoing_names_entry", {"reverses": "another"}),
    ("expiry_names_lot", {"kind": "expire", "amount": -1}),
    ("expiry_names_lot", {"lot": "another"}),
    ("only_credits_expire", {"kind": "spend", "amount": -1, "expires_at": LATER}),
    ("adjustment_is_explained", {"kind": "adjust", "amount": 1}),
    ("adjustment_is_explained", {"kind": "adjust", "amount": 1, "reason": "goodwill"}),
    ("adjustment_is_explained", {"kind": "adjust", "amount": 1, "actor": "staff"}),
]
GOOD_ENTRIES: list[dict[str, Any]] = [
    {"kind": "earn", "amount": 1, "expires_at": LATER},
    {"kind": "spend", "amount": -1},
    {"kind": "spend_rollback", "amount": 1, "reverses": "another"},
    {"kind": "expire", "amount": -1, "lot": "another"},
    {"kind": "expire", "amount": 0, "lot": "another"},
    {"kind": "reversal", "amount": -1, "reverses": "another"},
    {"kind": "reversal", "amount": 0, "reverses": "another"},
    {"kind": "adjust", "amount": -1, "reason": "mistake", "actor": "staff"},
]


def refused(name: str) -> Any:
    """Return a context in which the database refuses by the constraint of that name."""
    return pytest.raises(IntegrityError, match=name)


def entry_of(account: PointsAccount, **columns: Any) -> Entry:
    """Return an entry; "another" and "staff" stand for rows that are made for it."""
    another, staff = make_entry(account), make_person()
    rows = {"another": another, "staff": staff}
    return make_entry(account, **{key: rows.get(value, value) for key, value in columns.items()})


@pytest.mark.django_db
@pytest.mark.parametrize(("constraint", "columns"), BAD_RULES)
def test_a_rule_that_breaks_a_rule_is_refused(constraint: str, columns: dict[str, Any]) -> None:
    with refused(f"points_rewardrule_{constraint}"), transaction.atomic():
        make_rule(**columns)


@pytest.mark.django_db
@pytest.mark.parametrize(("constraint", "columns"), BAD_DECISIONS)
def test_a_decision_that_breaks_a_rule_is_refused(constraint: str, columns: dict[str, Any]) -> None:
    make_rule()
    inviter, invitee = make_people(2)

    with refused(f"points_rewarddecision_{constraint}"), transaction.atomic():
        make_decision(inviter, invitee, **columns)


@pytest.mark.django_db
def test_nobody_is_rewarded_for_inviting_themselves() -> None:
    make_rule()
    person = make_person()

    with refused("points_rewarddecision_not_of_oneself"), transaction.atomic():
        make_decision(person, person)


@pytest.mark.django_db
@pytest.mark.parametrize(("constraint", "columns"), BAD_ACCOUNTS)
def test_an_account_that_breaks_a_rule_is_refused(constraint: str, columns: dict[str, Any]) -> None:
    person = make_person()

    with refused(f"points_pointsaccount_{constraint}"), transaction.atomic():
        make_account(person, **columns)


@pytest.mark.django_db
def test_a_balance_below_zero_is_possible() -> None:
    assert make_account(make_person(), balance=-5).balance == -5


@pytest.mark.django_db
@pytest.mark.parametrize(("constraint", "columns"), BAD_ENTRIES)
def test_an_entry_that_breaks_a_rule_is_refused(constraint: str, columns: dict[str, Any]) -> None:
    account = make_account(make_person())

    with refused(f"points_entry_{constraint}"), transaction.atomic():
        entry_of(account, **columns)


@pytest.mark.django_db
@pytest.mark.parametrize("columns", GOOD_ENTRIES)
def test_an_entry_of_each_kind_is_possible(columns: dict[str, Any]) -> None:
    entry = entry_of(make_account(make_person()), **columns)

    assert Entry.objects.get(pk=entry.pk).amount == columns["amount"]


@pytest.mark.parametrize(
    ("model", "cases"),
    [
        (RewardRule, BAD_RULES),
        (RewardDecision, [*BAD_DECISIONS, ("not_of_oneself", {})]),
        (PointsAccount, BAD_ACCOUNTS),
        (Entry, BAD_ENTRIES),
    ],
)
def test_every_check_has_a_case(
    model: type[models.Model], cases: list[tuple[str, dict[str, Any]]]
) -> None:
    prefix = f"points_{model._meta.model_name}_"
    checks = {
        constraint.name.removeprefix(prefix)
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    }

    assert checks == {constraint for constraint, _ in cases}


@pytest.mark.django_db
def test_a_version_of_a_rule_is_unique() -> None:
    make_rule()

    with pytest.raises(IntegrityError), transaction.atomic():
        make_rule()


@pytest.mark.django_db
def test_a_person_is_the_reason_of_one_reward() -> None:
    make_rule()
    inviter, another, invitee = make_people(3)
    make_decision(inviter, invitee)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_decision(another, invitee, rule=make_rule(version=2))


@pytest.mark.django_db
def test_a_person_has_one_account() -> None:
    person = make_person()
    make_account(person)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_account(person)


@pytest.mark.django_db
@pytest.mark.parametrize("column", ["number", "idempotency_key", "reverses"])
def test_what_identifies_an_entry_is_unique(column: str) -> None:
    account = make_account(make_person())
    undone = make_entry(account)
    reversal = make_entry(account, kind="reversal", amount=-10, reverses=undone)
    other: dict[str, Any] = {"reverses": make_entry(account)}

    with pytest.raises(IntegrityError), transaction.atomic():
        make_entry(
            account,
            kind="reversal",
            amount=-10,
            **(other | {column: getattr(reversal, column)}),
        )


@pytest.mark.django_db
def test_a_rule_is_frozen_by_its_first_use_but_for_its_end() -> None:
    rule, (inviter, invitee) = make_rule(), make_people(2)
    rule.points = 200
    rule.full_clean()
    rule.save()
    make_decision(inviter, invitee)

    rule.active_until = LATER.replace(year=2999)
    rule.full_clean()
    rule.points = 300

    with pytest.raises(ValidationError) as refusal:
        rule.full_clean()
    assert refusal.value.error_dict["__all__"][0].code == "rule_frozen"


@pytest.mark.django_db
def test_what_history_refers_to_cannot_be_deleted() -> None:
    rule, (inviter, invitee) = make_rule(), make_people(2)
    make_decision(inviter, invitee)
    account = make_account(inviter)
    make_entry(account)

    for row in (rule, inviter, invitee, account):
        with pytest.raises(models.ProtectedError):
            row.delete()
