"""What became of events: deliveries that are done, and the few that are not; what they left."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from random import Random

from benchmarks.history.rows import NULL, Rows, moment
from events.receivers import Guarantee, Receiver, get_receiver
from events.signals import get_signal
from project.models import MailKind

RETRIED = 0.015  # of the deliveries that are done: the first attempt failed
SKIPPED_AFTER_S = 1800.0
TRIED_AGAIN_AFTER_S = 30 * 86_400.0  # later than anybody measures: it is not to become due
ATTEMPTS_SO_FAR = 6  # of what is tried again later
TRACEBACK = "Traceback (most recent call last): " + "a line of a receiver's code; " * 30
RELEASE = "2026.1"
INBOXES = ("coupons", "points", "relay")
MAILS = {
    "project.send_welcome_mail": MailKind.WELCOME,
    "project.send_coupon_mail": MailKind.COUPON,
    "project.send_reward_mail": MailKind.REWARD,
}


class Fate(Enum):
    """What became of a delivery."""

    DONE = auto()
    DEAD = auto()
    SKIPPED = auto()
    LATER = auto()  # it failed so far, and is tried again
    WAITING = auto()  # behind a dead one of its lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One way to fail; attempts that fail alike share a fingerprint."""

    error_class: str
    message: str
    fingerprint: str


FAILURES = (
    Failure(error_class="TimeoutError", message="timed out", fingerprint="4d1f0c8a9b3e7261"),
    Failure(
        error_class="smtplib.SMTPServerDisconnected",
        message="Connection unexpectedly closed",
        fingerprint="a0c47be1d2f35968",
    ),
    Failure(
        error_class="ConnectionRefusedError",
        message="[Errno 111] Connection refused",
        fingerprint="07be65d4c3f2a189",
    ),
    Failure(
        error_class="django.db.utils.DataError",
        message="value out of range: the campaign was edited",
        fingerprint="e9b8d7c6a5f40312",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An event as its deliveries need it."""

    position: int
    id: str
    type: str
    key: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A receiver that an event is owed to."""

    receiver: str
    queue: str
    version: str
    most_attempts: int
    inbox: Callable[..., None] | None  # of the exactly-once ones


class Deliveries:
    """Writes what the receivers made of each event. Finished ones of old events are pruned."""

    def __init__(self, rows: Rows, random: Random, *, first_id: int, keep_from: float) -> None:
        """Take the number of the first delivery, and when the oldest kept event was published."""
        self.random = random
        self.next_id = first_id
        self.keep_from = keep_from
        self._delivery, self._attempt = rows.adder("events.Delivery"), rows.adder("events.Attempt")
        self._mail = rows.adder("project.Mail")
        self._inboxes = {app: rows.adder(f"{app}.ProcessedEvent") for app in INBOXES}
        self._owed: dict[str, list[Owed]] = {}

    def deliver(self, event: Happening, fates: Mapping[str, Fate], user_id: str) -> None:
        """Write the deliveries of an event; those receivers are done that no fate is given for."""
        for owed in self._owed_for(event.type):
            fate = fates.get(owed.receiver, Fate.DONE)
            if fate is Fate.DONE:
                self._done(event, owed, user_id)
            else:
                self._not_done(event, owed, fate)

    def _owed_for(self, type_: str) -> list[Owed]:
        if type_ not in self._owed:
            signal = get_signal(type_)
            self._owed[type_] = [
                self._owe(get_receiver(name), str(signal.version))
                for name in signal.queues_by_receiver
            ]
        return self._owed[type_]

    def _owe(self, receiver: Receiver, version: str) -> Owed:
        app = receiver.name.partition(".")[0]
        exactly_once = receiver.guarantee is Guarantee.EXACTLY_ONCE
        return Owed(
            receiver=receiver.name,
            queue=receiver.queue,
            version=version,
            most_attempts=receiver.retry.max_attempts,
            inbox=self._inboxes[app] if exactly_once else None,
        )

    def _done(self, event: Happening, owed: Owed, user_id: str) -> None:
        """Write a delivery that is done, unless it would be pruned, and what always stays."""
        finished_at = moment(event.at + self.random.uniform(0.01, 0.2))
        if owed.inbox is not None:
            owed.inbox(owed.receiver, "", event.id, finished_at)
        elif kind := MAILS.get(owed.receiver):
            message_id = f"<{kind}.{event.id}@usher.test>"
            self._mail(event.id, kind, user_id, "sent", "", message_id, "250 OK", finished_at)
        if event.at >= self.keep_from:
            retried = self.random.random() < RETRIED
            if retried:
                self._fail(event.at, self.random.choice(FAILURES), times=1)
            attempts = "2" if retried else "1"
            self._write(event, owed, "done", attempts, finished_at=finished_at)

    def _not_done(self, event: Happening, owed: Owed, fate: Fate) -> None:
        """Write a delivery that failed for good or so far, or waits. Those are never pruned."""
        columns: dict[str, str] = {}
        attempts = {Fate.LATER: ATTEMPTS_SO_FAR, Fate.WAITING: 0}.get(fate, owed.most_attempts)
        if attempts:
            failure = self.random.choice(FAILURES)
            self._fail(event.at, failure, times=attempts)
            columns["last_error"] = f"{failure.error_class}: {failure.message}"
            columns["fingerprint"] = failure.fingerprint
        if fate is Fate.LATER:
            columns["due_at"] = moment(event.at + TRIED_AGAIN_AFTER_S)
        if fate is Fate.SKIPPED:
            columns |= {"skipped_by": "support@usher.test", "skip_reason": "the person was told"}
            columns["finished_at"] = moment(event.at + SKIPPED_AFTER_S)
        state = "pending" if fate is Fate.LATER else fate.name.lower()
        self._write(event, owed, state, str(attempts), **columns)

    def _write(
        self,
        event: Happening,
        owed: Owed,
        state: str,
        attempts: str,
        *,
        due_at: str = NULL,
        last_error: str = "",
        fingerprint: str = "",
        skipped_by: str = "",
        skip_reason: str = "",
        finished_at: str = NULL,
    ) -> None:
        lane = (event.type, owed.version, event.key, str(event.position))
        id_, first, alone, owner = str(self.next_id), (event.id, owed.receiver, ""), "f", ""
        error = (last_error, fingerprint, skipped_by, skip_reason)
        self._delivery(
            id_,
            *first,
            owed.queue,
            *lane,
            state,
            due_at,
            attempts,
            alone,
            owner,
            *error,
            finished_at,
        )
        self.next_id += 1

    def _fail(self, at: float, failure: Failure, *, times: int) -> None:
        """Write failed attempts at the delivery that is written next, each later than the last."""
        delivery, error = str(self.next_id), (failure.error_class, failure.message)
        for number in range(1, times + 1):
            at += min(2.0**number, 3600.0)
            when = (moment(at), moment(at + 0.25))
            self._attempt(
                delivery, str(number), *when, *error, TRACEBACK, failure.fingerprint, RELEASE
            )
