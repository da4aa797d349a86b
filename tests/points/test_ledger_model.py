"""Any steps lead the real ledger and a simple model to the same balance and the same lots."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from unittest import mock
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from points.corrections import adjust, reverse
from points.expiry import expire_due
from points.models import Entry, Lot, PointsAccount
from points.queries import summary_of
from points.rebuilding import differences
from points.refusals import InsufficientPoints, Refused
from points.spending import roll_back_spend, spend
from tests.points.factories import credit
from tests.points.ledger_model import Ledger
from tests.registrations import make_people

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

amounts = st.integers(1, 30)
orders = st.sampled_from(["a", "b", "c", "d"])
pick = st.integers(0, 100)


class LedgerMachine(RuleBasedStateMachine):
    """Does each step to both, and compares them."""

    def __init__(self) -> None:
        super().__init__()
        self.rollback = transaction.atomic()
        self.rollback.__enter__()
        self.now = START
        self.clock = mock.patch("django.utils.timezone.now", side_effect=lambda: self.now)
        self.clock.start()
        self.person, self.staff = make_people(2)
        PointsAccount.objects.create(user=self.person)
        self.model = Ledger()
        self.earned: list[UUID] = []
        self.spent: dict[str, UUID] = {}

    def teardown(self) -> None:
        """Leave nothing."""
        self.clock.stop()
        transaction.set_rollback(True)
        self.rollback.__exit__(None, None, None)

    @rule(days=st.integers(1, 5))
    def wait(self, days: int) -> None:
        self.now += days * DAY

    @rule(amount=amounts, days=st.one_of(st.none(), st.integers(1, 10)))
    def earn(self, amount: int, days: int | None) -> None:
        expires_at = self.now + days * DAY if days else None
        entry = credit(self.person, amount, expires_at=expires_at, occurred_at=self.now)
        self.earned.append(entry.pk)
        self.model.credit(amount, expires_at, earned=True)

    @rule(amount=amounts, order=orders)
    def spend(self, amount: int, order: str) -> None:
        paid = False
        with suppress(Refused), transaction.atomic():
            entry = spend(
                user_id=self.person.pk, amount=amount, order_ref=order, actor_id=self.staff.pk
            )
            paid = True
            assert self.spent.setdefault(order, entry.pk) == entry.pk

        assert self.model.spend(amount, order, self.now) == paid

    @precondition(lambda self: self.spent)
    @rule(number=pick)
    def undo(self, number: int) -> None:
        order = sorted(self.spent)[number % len(self.spent)]
        roll_back_spend(entry_id=self.spent[order], actor_id=self.staff.pk)
        self.model.undo(order)

    @precondition(lambda self: self.earned)
    @rule(number=pick)
    def reverse(self, number: int) -> None:
        index = number % len(self.earned)
        reverse(entry_id=self.earned[index], reason="referral_voided")
        self.model.reverse(self.model.earned[index], self.now)

    @rule(amount=amounts)
    def add(self, amount: int) -> None:
        adjust(user_id=self.person.pk, amount=amount, reason="r", actor_id=self.staff.pk)
        self.model.expire(self.now)
        self.model.credit(amount, None, earned=False)

    @rule(amount=amounts)
    def take_off(self, amount: int) -> None:
        taken = False
        with suppress(InsufficientPoints), transaction.atomic():
            adjust(user_id=self.person.pk, amount=-amount, reason="r", actor_id=self.staff.pk)
            taken = True

        assert self.model.take_off(amount, self.now) == taken

    @rule()
    def expire(self) -> None:
        expire_due(now=self.now)
        self.model.expire(self.now)

    @invariant()
    def they_agree(self) -> None:
        account = PointsAccount.objects.get(pk=self.person.pk)
        entries = Entry.objects.filter(account=account)
        lots = Lot.objects.filter(account=account).order_by("number")
        remaining = list(lots.values_list("remaining", flat=True))

        assert account.balance == self.model.balance
        assert account.balance == (entries.aggregate(sum=Sum("amount"))["sum"] or 0)
        assert remaining == [lot.remaining for lot in self.model.lots]
        assert account.balance == sum(remaining) - max(0, -account.balance)
        negative = entries.filter(balance_after__lt=0, amount__lt=0)
        assert not negative.exclude(kind="reversal").exists()

    @invariant()
    def what_is_shown_can_be_spent(self) -> None:
        open_lots = [lot for lot in self.model.lots if lot.remaining]
        expiries = [(lot.expires_at, lot.remaining) for lot in open_lots]
        ahead = [at for at, _ in expiries if at and at > self.now]
        lapsed = sum(points for at, points in expiries if at and at <= self.now)
        summary = summary_of(self.person.pk)

        assert summary.next_expiry == min(ahead, default=None)
        assert summary.balance == self.model.balance - lapsed

    @invariant()
    def it_can_be_rebuilt(self) -> None:
        assert list(differences()) == []


def test_any_steps_lead_both_to_the_same_ledger() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            deadline=None,
            max_examples=15,
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        ),
    )
