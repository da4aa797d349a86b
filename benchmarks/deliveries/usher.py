"""Usher itself: bare receivers, the real ones, and the limit."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from benchmarks.deliveries.contest import Database, per_second, wait_for, wait_until_idle
from benchmarks.served import percentiles_ms, worker

if TYPE_CHECKING:
    from accounts.signals import UserRegistered

INVITERS_SHARE = 5  # so many are invited by each, where they are not all by one
CHUNK = 1000
FIRST_PEOPLE = 3000
SIGN_UPS_PER_S = 20.0

_codes = count()  # of this process, which has a database of its own


class Usher:
    """Usher with receivers that do no more than the peers' tasks."""

    receivers: ClassVar[dict[str, str]] = {"coupon": "bare.issue", "points": "bare.credit"}
    queues: ClassVar[dict[str, str]] = {"coupon": "bare", "points": "ledger"}

    def __init__(self, url: str, name: str = "usher") -> None:
        self.database, self.name = Database(url), name
        self.waited_s: list[float] = []  # of those who signed up beside it

    def __str__(self) -> str:
        return self.name

    def backlog(self, kind: str, events: int, processes: int) -> float:
        """Return how many dead deliveries a second are worked off once they are replayed."""
        first = self.publish(kind, events)
        self._replay_as_dead(kind)
        held_back = self.hold_back(kind)
        self.database.tidy()
        with self._worker(kind, processes):
            wait_until_idle()  # the start of workers, who take stock of everything, is behind them
            with _maybe_signing_up(self):
                let_go(held_back)
                self.wait_for_all(kind)
        return per_second(self.moments(kind, first))

    def live(self, kind: str, events: int, processes: int) -> float:
        """Return how many a second come from sign-up to effect."""
        self.database.tidy()
        with self._worker(kind, processes):
            self.publish(kind, 1)
            self.wait_for_all(kind)
            began, first = time.time(), _next_position()
            for _ in range(events):
                self.sign_up_one(kind)
            self.wait_for_all(kind)
        return events / (max(self.moments(kind, first)) - began)

    def publish(self, kind: str, events: int) -> int:
        """Record events; return the position of the first."""
        from django.db import transaction

        first = _next_position()
        for done in range(0, events, CHUNK):
            with transaction.atomic():
                self._publish_chunk(kind, min(CHUNK, events - done))
        return first

    def _publish_chunk(self, kind: str, count: int) -> None:
        from benchmarks.bare import signals

        if kind == "coupon":
            owed = [signals.CouponOwed(user_id=uuid4()) for _ in range(count)]
            signals.coupon_owed.publish_many(owed)
        else:
            points = [signals.PointsOwed(user_id=uuid4(), points=100) for _ in range(count)]
            signals.points_owed.publish_many(points)

    def sign_up_one(self, kind: str) -> None:
        """Sign somebody up, in a transaction."""
        from django.db import transaction

        from benchmarks.bare.models import BareSignUp

        with transaction.atomic():
            BareSignUp(user_id=uuid4()).save(force_insert=True)
            self._publish_chunk(kind, 1)

    def _replay_as_dead(self, kind: str) -> None:
        from events.models import Delivery, DeliveryState
        from events.operations.replay import replay
        from events.operations.selection import Selection

        receiver = self.receivers[kind]
        waiting = Delivery.objects.filter(receiver=receiver, state=DeliveryState.PENDING)
        waiting.update(state=DeliveryState.DEAD, due_at=None)
        replay(Selection(receiver=receiver))

    def _worker(self, kind: str, processes: int) -> Any:
        return worker(self.queues[kind], QUEUE_WORKERS=str(processes))

    def wait_for_all(self, kind: str) -> None:
        """Wait until every delivery of what has been published so far is finished."""
        last = _next_position() - 1
        wait_for(lambda: int(not self._is_any_left(kind, last)), 1)

    def _is_any_left(self, kind: str, last: int) -> bool:
        """Tell whether a delivery of an event up to a position is unfinished.

        Asked all the time, beside what is measured: to count what is done would take, among some
        hundred thousand, half a processor. The last that is due is the end of an index, and what is
        unfinished is looked for only where nothing is due.
        """
        own = (  # names of our own
            f"SELECT id FROM events_delivery WHERE receiver = '{self.receivers[kind]}' "  # noqa: S608
            f"AND position <= {last}"
        )
        due = f"{own} AND due_at IS NOT NULL ORDER BY due_at DESC LIMIT 1"
        unfinished = f"{own} AND finished_at IS NULL LIMIT 1"
        return any(self.database.all(question) for question in (due, unfinished))

    def hold_back(self, kind: str) -> list[str]:
        """Pause the receivers of the queue. Return those that ran."""
        return pause_all(self._in_queue(kind))

    def _in_queue(self, kind: str) -> list[str]:
        from events.receivers import all_receivers

        queue = self.queues[kind]
        return [receiver.name for receiver in all_receivers() if receiver.queue == queue]

    def moments(self, kind: str, first: int) -> list[float]:
        """Return when each delivery of events from a position on was finished."""
        from events.models import Delivery

        finished = Delivery.objects.filter(
            receiver=self.receivers[kind], event__position__gte=first
        )
        return [at.timestamp() for at in finished.values_list("finished_at", flat=True) if at]


class Real(Usher):
    """The real receivers, on people who are there.

    Their queues have projections besides, which count what they did: a delivery more for each.
    `by_itself` leaves those out.
    """

    receivers: ClassVar[dict[str, str]] = {
        "coupon": "coupons.issue_welcome_coupons",
        "points": "points.reward_inviter",
    }
    queues: ClassVar[dict[str, str]] = {"coupon": "coupons", "points": "points"}

    def __init__(
        self, url: str, name: str, *, one_inviter: bool = False, by_itself: bool = False
    ) -> None:
        super().__init__(url, name)
        self.one_inviter, self.by_itself = one_inviter, by_itself
        self._is_new_site = True

    def backlog(self, kind: str, events: int, processes: int) -> float:
        """Return how many are worked off a second, on a site that has some people already.

        VACUUM tells the planner that tables are empty where they are. Until the next one it would
        look for what a foreign key refers to in all of the rows that come meanwhile.
        """
        if self._is_new_site:
            self.publish(kind, FIRST_PEOPLE)
            with self._worker(kind, processes):
                self.wait_for_all(kind)
            self._is_new_site = False
        with self._others_left_out(kind):
            return super().backlog(kind, events, processes)

    @contextmanager
    def _others_left_out(self, kind: str) -> Iterator[None]:
        """Pause the other receivers of the queue; what came to them meanwhile is dropped."""
        from events.models import Delivery

        own = self.receivers[kind]
        others = pause_all(n for n in self._in_queue(kind) if self.by_itself and n != own)
        yield
        Delivery.objects.filter(receiver__in=others, finished_at__isnull=True).delete()
        let_go(others)

    def _publish_chunk(self, kind: str, count: int) -> None:
        from accounts.signals import user_registered

        user_registered.publish_many(self.newcomers(count))

    def newcomers(self, count: int) -> list["UserRegistered"]:
        """Make accounts, those of their inviters too; return what is to be published of them."""
        from django.contrib.auth import get_user_model

        from accounts.signals import UserRegistered

        user: Any = get_user_model()
        addresses = [f"{uuid4().hex}@example.com" for _ in range(count + self._inviters(count))]
        people = user.objects.bulk_create(
            # Drawn codes would meet among some hundred thousand: a 0 is in none of them.
            user(email=address, email_canonical=address, referral_code=f"{next(_codes):08d}")
            for address in addresses
        )
        inviters, newcomers = people[count:], people[:count]
        return [
            UserRegistered(user_id=person.pk, inviter_id=inviters[n % len(inviters)].pk)
            for n, person in enumerate(newcomers)
        ]

    def _inviters(self, count: int) -> int:
        return 1 if self.one_inviter else max(1, count // INVITERS_SHARE)

    def sign_up_one(self, kind: str) -> None:
        """Sign somebody up, in a transaction."""
        from django.db import transaction

        with transaction.atomic():
            self._publish_chunk(kind, 1)


def pause_all(receivers: Iterable[str]) -> list[str]:
    """Pause receivers. Return those that ran."""
    from events.operations.pausing import pause

    return [name for name in receivers if pause(name, by="benchmark", reason="to measure")]


def let_go(receivers: Iterable[str]) -> None:
    """Let paused receivers run."""
    from events.operations.pausing import resume

    for name in receivers:
        resume(name)


@contextmanager
def _maybe_signing_up(usher: Usher) -> Iterator[None]:
    """On SQLite, register people at a steady rate during a block, and note how long each waits."""
    if not usher.database.on_sqlite:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_sign_people_up, args=(over, usher.waited_s.append))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sign_people_up(over: threading.Event, note: Callable[[float], object]) -> None:
    from django.db import connections

    from accounts.services import register

    try:
        while not over.is_set():
            began = time.monotonic()
            register(email=f"{uuid4().hex}@example.com", password="correct-horse-7")  # noqa: S106
            note(time.monotonic() - began)
            over.wait(max(0.0, began + 1 / SIGN_UPS_PER_S - time.monotonic()))
    finally:
        connections.close_all()


def _next_position() -> int:
    from events.models import Event

    latest = Event.objects.order_by("-position").values_list("position", flat=True).first()
    return (latest or 0) + 1


def waiting_of(sign_ups: Sequence[float]) -> dict[str, Any] | None:
    """Return the percentiles of those who signed up beside the work, if any did."""
    return percentiles_ms(sign_ups) if sign_ups else None


def use(url: str) -> None:
    """Let this process and those it starts use a database."""
    os.environ["DATABASE_URL"] = url
