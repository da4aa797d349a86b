"""The audits of checkouts: what is lost is found and made once. And who has no audit, and why."""

import pytest

from coupons import redeeming
from events.operations import audits
from events.receivers import all_receivers
from points import spending
from points.models import Entry
from project import checkouts
from project.audits import (
    GIVE_BACK_RECEIVER,
    SPEND_RECEIVER,
    UNDO_BY_REDEMPTION_RECEIVER,
    UNDO_BY_SPENDING_RECEIVER,
    audit_refusals,
    audit_spending,
    audit_undoing_by_redemption,
    audit_undoing_by_spending,
)
from project.models import Checkout
from tests.conftest import Drain
from tests.project.test_checkouts import Shop, paid
from tests.project.test_checkouts import shop as shop
from tests.reconciling import kinds, reconcile, statements

pytestmark = pytest.mark.django_db(transaction=True)

# What these bring about can not be told from what became of it later, or is told elsewhere.
WITHOUT_AN_AUDIT = {
    "accounts.apply_risk_decision": "a later decision, by staff too, has the last word",
    "accounts.settle_referrals": "I13 tells which referrals of a fraud are left",
    "coupons.issue_in_bulk": "it works in chunks, and the list shows which lines are open",
    "coupons.retry_sold_out_decisions": "it works while stock lasts, which may be not at all",
    "coupons.settle_held_decisions": "it works in chunks, and what is held may be so for good",
    "project.forget_kept_answers": "kept answers are deleted by their age in any case",
    "project.mail_alarm": "as of coupons",
    "project.send_coupon_mail": "a mail can't be looked at; the list of mails tells what was tried",
    "project.send_reward_mail": "as of coupons",
    "project.send_welcome_mail": "as of coupons",
    "relay.fan_out": "an endpoint is owed what was published while it was enabled, which varies",
    "relay.send": "only the other side knows what came",
    "relay.tell_owner": "nobody knows whether a mail was read",
}


def lose(monkeypatch: pytest.MonkeyPatch, drain: Drain, name: str) -> None:
    """Deliver what is due while a service forgets to do its work."""
    with monkeypatch.context() as forgetful:
        forgetful.setattr(checkouts, name, lambda **given: None)
        drain()


def found_and_repaired(receiver: str, drain: Drain) -> bool:
    """Repair; tell whether that receiver's effect was missing, alone, and is there afterwards."""
    first = flaws()
    drain()
    return first == [(receiver, "missing")] and flaws() == []


def flaws() -> list[tuple[str, str]]:
    """Repair; return what the project's audits found. What factories made has no events."""
    return [found for found in kinds(reconcile("--repair")) if found[0].startswith("project.")]


def test_a_checkout_whose_spending_was_lost_is_found_and_paid_once(
    shop: Shop, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.start()
    lose(monkeypatch, drain, "pay")
    assert paid(shop) == (True, 100)

    assert found_and_repaired(SPEND_RECEIVER, drain)
    assert Checkout.objects.get().state == "completed"
    assert paid(shop) == (True, 40)


def test_a_refused_checkout_that_kept_its_coupon_is_found_and_gives_it_back(
    shop: Shop, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.start(points=101)
    lose(monkeypatch, drain, "give_coupon_back")
    assert paid(shop) == (True, 100)

    assert found_and_repaired(GIVE_BACK_RECEIVER, drain)
    assert paid(shop) == (False, 100)


def test_a_checkout_whose_coupon_was_given_back_is_found_and_undone(
    shop: Shop, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = shop.start()
    drain()
    redeeming.roll_back(redemption_id=checkout.redemption_id, by=shop.service)
    lose(monkeypatch, drain, "undo")

    assert found_and_repaired(UNDO_BY_REDEMPTION_RECEIVER, drain)
    assert paid(shop) == (False, 100)


def test_a_checkout_whose_points_were_given_back_is_found_and_undone(
    shop: Shop, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.start()
    drain()
    spent = Entry.objects.get(kind="spend")
    spending.roll_back_spend(entry_id=spent.pk, actor_id=shop.service.pk)
    lose(monkeypatch, drain, "undo")

    assert found_and_repaired(UNDO_BY_SPENDING_RECEIVER, drain)
    assert paid(shop) == (False, 100)


@pytest.mark.parametrize("points", [60, 101])
def test_a_checkout_that_was_decided_and_carried_out_lacks_nothing(
    points: int, shop: Shop, drain: Drain
) -> None:
    shop.start(points=points)
    drain()

    assert flaws() == []


@pytest.mark.parametrize(
    "audit",
    [audit_spending, audit_refusals, audit_undoing_by_redemption, audit_undoing_by_spending],
)
def test_an_audit_of_checkouts_is_one_statement(audit: audits.Look) -> None:
    assert statements(lambda: list(audit([]))) <= 1


def test_every_receiver_has_an_audit_or_a_reason_to_have_none() -> None:
    ours = {r.name for r in all_receivers() if not r.name.startswith("probe.")}

    assert ours - audits._audits.keys() == WITHOUT_AN_AUDIT.keys()
    assert all(WITHOUT_AN_AUDIT.values())


def test_audits_depend_on_receivers_that_are_there() -> None:
    named = {name for audit in audits._audits.values() for name in audit.depends_on}

    assert named <= {receiver.name for receiver in all_receivers()}
