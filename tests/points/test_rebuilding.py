"""Accounts and lots can be made anew from entries and decisions."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F

from points import rebuilding
from points.models import Lot, PointsAccount
from points.rebuilding import differences
from points.spending import roll_back_spend, spend
from tests.invariants import broken
from tests.points.factories import credit
from tests.registrations import make_people

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def ledger() -> None:
    """Make three accounts that have seen something."""
    for number, person in enumerate(make_people(3)):
        for amount in (10, 20):
            credit(person, amount)
        paid = [
            spend(user_id=person.pk, amount=5, order_ref=f"{number}-{n}", actor_id=None)
            for n in range(2)
        ]
        roll_back_spend(entry_id=paid[0].pk, actor_id=None)


def run_command(*arguments: str) -> tuple[Any, int]:
    """Run the command; return its document and exit code."""
    out = StringIO()
    try:
        call_command("rebuild_points", "--json", *arguments, stdout=out)
    except SystemExit as end:
        return json.loads(out.getvalue()), int(end.code or 0)
    return json.loads(out.getvalue()), 0


def test_what_is_right_is_left_alone() -> None:
    document, code = run_command("--repair")

    assert code == 0
    assert document == {"accounts": 3, "repaired": True, "differences": []}


@pytest.mark.parametrize(
    "harm",
    [
        lambda account: account.update(balance=F("balance") + 1),
        lambda account: account.update(lifetime_earned=F("lifetime_earned") + 1),
        lambda account: account.update(pending=7),
        lambda account: account.update(version=F("version") + 1),
        lambda account: Lot.objects.filter(account__in=account, number=1).update(remaining=1),
        lambda account: Lot.objects.filter(account__in=account, number=2).delete(),
    ],
    ids=["balance", "lifetime_earned", "pending", "version", "lot", "lost lot"],
)
def test_what_is_wrong_is_told_and_repaired(
    harm: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "ACCOUNTS_AT_ONCE", 2)
    account = PointsAccount.objects.order_by("pk")[1]
    harm(PointsAccount.objects.filter(pk=account.pk))

    found, code = run_command()
    assert (code, found["repaired"], found["accounts"]) == (1, False, 3)
    assert [d["account_id"] for d in found["differences"]] == [str(account.pk)]
    assert run_command("--repair", "--dry-run") == (found, 1)
    repaired, code = run_command("--repair")

    assert (code, repaired["differences"]) == (0, found["differences"])
    assert list(differences()) == []


def test_lots_that_lie_break_an_invariant() -> None:
    Lot.objects.filter(number=1).update(remaining=F("remaining") + 1)

    assert broken()["I5"] == ["lots hold other than what the entries leave of their credits"]


def test_the_command_tells_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    lot = Lot.objects.filter(number=1)[0]
    Lot.objects.filter(pk=lot.pk).update(remaining=9)

    with pytest.raises(SystemExit):
        call_command("rebuild_points")

    told = capsys.readouterr().out
    assert f"lot {lot.pk} is 9, not {lot.remaining}" in told
    assert "3 accounts compared: 1 differences." in told
