"""Whatever happens to accounts, in whatever order it is delivered: the same comes of it.

Each example lets the same things happen twice, to different people: once every event is delivered
at once, once the receivers get their turns in any order, late, and get everything again.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from io import StringIO
from itertools import count
from typing import Any, TypeAlias
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts import closing, referrals, standing
from accounts.models import Referral, User
from accounts.services import register
from coupons import redeeming
from coupons.models import Coupon, IssueDecision, Redemption
from coupons.models import ProcessedEvent as CouponsInbox
from coupons.refusals import Refused as CouponRefused
from coupons.states import coupon_state
from events.delivery.drain import drain
from events.models import DeliveryState, ReceiverState
from events.operations.replay import replay
from events.operations.selection import Selection
from events.receivers import all_receivers, get_receiver
from points import expiry, spending
from points.models import Entry, PointsAccount, RewardRule
from points.models import ProcessedEvent as PointsInbox
from points.refusals import Refused as PointsRefused
from project import checkouts
from tests.coupons.factories import make_campaign
from tests.faults.stimuli import drain_everything
from tests.invariants import broken
from tests.registrations import make_service

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = int(os.environ.get("DOMAIN_EXAMPLES", "4"))
PEOPLE = 3  # besides their inviter
RECEIVERS = [each.name for each in all_receivers() if not each.name.startswith("probe.")]
# These go by the present state and by business keys: they need no inbox to be repeatable.
REPEATABLE = [
    "coupons.issue_welcome_coupons",
    "coupons.follow_account",
    "coupons.void_referral_benefit",
    "coupons.release_referral_benefit",
    "points.reward_inviter",
    "points.follow_account",
    "points.follow_referral",
]
MONTH = timedelta(days=31)

Step: TypeAlias = tuple[str, int]
State: TypeAlias = dict[str, Any]
_numbers = count(1)


class World:
    """An inviter, whom they invite, and what may happen to them."""

    def __init__(self, service: User) -> None:
        self.service = service
        self.run = next(_numbers)
        self.inviter = self._register("inviter", "")
        self.people: dict[int, User] = {}
        self.skipped_s = timedelta()

    def do(self, step: Step) -> None:
        """Let a step happen; what the rules refuse, or what has no object, does not."""
        name, number = step
        if name == "register":
            self._join(number)
        elif person := self._person(number):
            with suppress(
                CouponRefused, PointsRefused, standing.AccountIsClosed, referrals.Undecidable
            ):
                getattr(self, name)(person)

    def _register(self, name: str, code: str) -> User:
        address = f"{name}-{self.run}@example.com"
        return register(email=address, password="correct-horse-7", referral_code=code).user

    def _join(self, number: int) -> None:
        if number and number not in self.people:
            self.people[number] = self._register(f"person{number}", self.inviter.referral_code)

    def _person(self, number: int) -> User | None:
        return self.people.get(number) if number else self.inviter

    def flag(self, person: User) -> None:
        standing.flag_account(user_id=person.pk, reason="by_staff")

    def clear(self, person: User) -> None:
        standing.clear_account(user_id=person.pk, reason="by_staff")

    def close(self, person: User) -> None:
        closing.close_account(user_id=person.pk, reason=closing.CloseReason.REQUESTED)

    def defraud(self, person: User) -> None:
        closing.close_account(user_id=person.pk, reason=closing.CloseReason.FRAUD)

    def void(self, person: User) -> None:
        with suppress(Referral.DoesNotExist):
            referrals.void_referral(invitee_id=person.pk, reason="rejected")

    def approve(self, person: User) -> None:
        with suppress(Referral.DoesNotExist):
            referrals.approve_referral(invitee_id=person.pk, reason="checked")

    def redeem(self, person: User) -> None:
        drain_everything()  # nobody uses what has not come
        for coupon in Coupon.objects.filter(user=person).order_by("campaign__name"):
            with suppress(CouponRefused):
                redeeming.redeem(
                    code=coupon.code, order_ref="A-1", order_amount=5000, by=self.service
                )

    def roll_back(self, person: User) -> None:
        drain_everything()
        for redemption in Redemption.objects.filter(coupon__user=person):
            redeeming.roll_back(redemption_id=redemption.pk, by=self.service)

    def spend(self, person: User) -> None:
        drain_everything()
        spending.spend(
            user_id=person.pk, amount=60, order_ref=f"{self.run}-{person.pk}", actor_id=None
        )

    def checkout(self, person: User) -> None:
        drain_everything()
        usable = Coupon.objects.filter(user=person, status="issued").order_by("campaign__name")
        if coupon := usable.first():
            terms = checkouts.Terms(
                code=coupon.code,
                order_ref=f"C-{self.run}-{person.pk}",
                order_amount=5000,
                points=60,
            )
            checkouts.start(terms=terms, by=self.service)

    def unspend(self, person: User) -> None:
        drain_everything()
        for entry in Entry.objects.filter(account=person.pk, kind="spend"):
            spending.roll_back_spend(entry_id=entry.pk, actor_id=None)

    def expire(self, person: User) -> None:
        drain_everything()
        expiry.expire_due(now=timezone.now() + MONTH)

    def outcome(self) -> list[State]:
        """Return what everybody can do now, without ids."""
        drain_everything()
        numbered = sorted(self.people.items())
        return [_state_of(person) for person in [self.inviter, *(p for _, p in numbered)]]


def _state_of(person: User) -> State:
    """Return what a person can do. What a closed account once had is history, and may differ."""
    person.refresh_from_db()
    if person.status == "closed":
        return {"status": "closed", "usable": _coupons(person, "usable", "suspended")}
    account = PointsAccount.objects.filter(pk=person.pk).first()
    return {
        "status": person.status,
        "referral": Referral.objects.filter(pk=person.pk).values_list("status").first(),
        "coupons": _coupons(person, "usable", "suspended", "redeemed"),
        "balance": account.balance if account else 0,
        "pending": account.pending if account else 0,
        "frozen": bool(account and account.frozen_at),
    }


def _coupons(person: User, *states: str) -> list[tuple[str, str]]:
    """Return the coupons in these states; one that is held back is as good as a suspended one."""
    now = timezone.now()
    found = Coupon.objects.filter(user=person).select_related("campaign")
    shown = [(coupon.campaign.name, coupon_state(coupon, at=now).value) for coupon in found]
    held = IssueDecision.objects.filter(user=person, outcome="held").select_related("campaign")
    shown += [(decision.campaign.name, "suspended") for decision in held]
    return sorted(pair for pair in shown if pair[1] in states)


STEPS = [
    "register", "register", "flag", "clear", "close", "defraud", "void", "approve",
    "redeem", "roll_back", "checkout", "spend", "unspend", "expire",
]  # fmt: skip
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, PEOPLE)), min_size=3, max_size=16)
turns = st.lists(st.one_of(st.none(), st.sampled_from(RECEIVERS), st.just("replay")), max_size=40)


def at_once(world: World, program: Sequence[Step]) -> list[State]:
    for step in program:
        world.do(step)
        drain_everything()
    return world.outcome()


def in_turns(world: World, program: Sequence[Step], schedule: Iterator[str | None]) -> list[State]:
    for step in program:
        if (
            step[0] == "flag"
        ):  # a reward that is decided about afterwards is held: late is not wrong
            deliver_to("points.reward_inviter")
        world.do(step)
        for turn in (next(schedule, None), next(schedule, None)):
            if turn == "replay":
                replay(Selection(state=DeliveryState.DONE, since=_today()))
            elif turn is not None:
                deliver_to(turn)
    world.outcome()
    for inbox in (CouponsInbox, PointsInbox):
        inbox.objects.filter(receiver__in=REPEATABLE).delete()
    for name in REPEATABLE:
        replay(Selection(state=DeliveryState.DONE, receiver=name))
    return world.outcome()


def deliver_to(name: str) -> None:
    """Deliver what one receiver is owed, and nothing else."""
    others = ReceiverState.objects.exclude(name=name)
    others.update(paused_at=timezone.now())
    drain(get_receiver(name).queue)
    others.update(paused_at=None)


def missing_or_doubled() -> list[str]:
    """Return what `reconcile` finds."""
    out = StringIO()
    with suppress(CommandError):
        call_command("reconcile", "--json", "--grace", "0", stdout=out)
    found: list[Any] = json.loads(out.getvalue())["findings"]
    return [str(each) for each in found]


def _today() -> datetime:
    return timezone.now() - timedelta(minutes=1)


@pytest.fixture
def service() -> User:
    make_campaign(name="Welcome")
    make_campaign(name="Invited", audience="invited", basis_points=None, amount=300, currency="EUR")
    RewardRule.objects.create(version=1, points=100, expires_days=30)
    for name in RECEIVERS:
        ReceiverState.objects.get_or_create(name=name)
    return make_service("coupons.redeem_coupon", "points.spend_points")


@contextmanager
def _no_bursts() -> Iterator[None]:
    with mock.patch("accounts.risk._is_burst", return_value=False):  # of all examples together
        yield


def test_the_order_of_delivery_does_not_matter(service: User) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # each try takes seconds: no shrinking
        suppress_health_check=list(HealthCheck),
    )
    @given(program=steps, schedule=turns)
    def check(program: list[Step], schedule: list[str | None]) -> None:
        expected = at_once(World(service), program)
        found = in_turns(World(service), program, iter(schedule))

        assert found == expected
        assert broken("--at-rest") == {}
        assert missing_or_doubled() == []

    run: Callable[[], None] = check
    with _no_bursts():
        run()
