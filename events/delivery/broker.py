"""django-q2's brokers, made to carry bells: at most one waits per queue, and dequeue never raises.

They carry calls of periodic work too (see `events.queue.schedule`): one of each work waits. A bell
is forgotten as it is taken, for what it tells of is in the database; a call when it was answered,
by whoever answers it: django-q2's monitor has nothing to acknowledge, and needs no connection.

The stock pusher sleeps ten seconds and dies when dequeue raises, and the stock brokers delete what
they cannot read. Both would be lost bells; the sweep would mend it, but late.
"""

import logging
import multiprocessing
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone
from django_q.brokers import Broker, get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage

from events.delivery.progress import told
from events.delivery.wakeup import Sleeper, wake
from events.queue import RUN_PERIODIC
from events.rows import IN_SECONDS, NOW, rows_of

logger = logging.getLogger(__name__)

PARKED_UNTIL = datetime(9999, 1, 1, tzinfo=UTC)  # an unreadable bell is kept for inspection
PAUSE_AFTER_ERROR_S = 1.0
_NOT_IN_CHANNELS = "[^a-zA-Z0-9]"  # of a queue's name, as Python and PostgreSQL read it

Bell = tuple[None, str]  # nothing to acknowledge it by; signed payload


def load() -> None:
    """Import what clusters need and who only rings does not: 4 MB that they share after a fork."""
    import django_q.cluster  # noqa: F401


def run_cluster(queue: str) -> None:
    """Serve a queue in this process until SIGTERM, and until its children are done."""
    from django_q.cluster import Cluster

    Conf.CLUSTER_NAME = queue  # read from the environment at import, which was before the fork
    multiprocessing.current_process().name = queue  # django-q2 makes it the process's title
    Cluster().start()
    for sentinel in multiprocessing.active_children():
        sentinel.join()


def plan_due_calls(queues: Sequence[str]) -> None:
    """Put the calls of these queues that are due into them, and plan when they come next.

    The sweep does this. django-q2's sentinels would: one connection each, for every queue.
    """
    from django_q.scheduler import scheduler

    due = Schedule.objects.filter(cluster__in=queues, next_run__lt=timezone.now())
    for queue in due.exclude(repeats=0).values_list("cluster", flat=True).distinct():
        Conf.CLUSTER_NAME = queue  # of which the scheduler looks for schedules
        scheduler(broker=get_broker(queue))


class BellBroker(Broker):  # type: ignore[misc]
    """What the brokers share: calm in the face of errors."""

    _is_failing = False

    def dequeue(self) -> list[Bell] | None:
        """Return waiting bells, or None after a while without any. Never raises."""
        told().looked()
        try:
            readable = [bell for bell in self.take_bells() if self._is_readable(bell)]
        except Exception:
            self._note_failure()
            self.recover()
            time.sleep(PAUSE_AFTER_ERROR_S)
            return None
        self._note_success()
        if readable:
            told().taken()
        return readable or None

    def ring_all(self, payloads: Mapping[str, str]) -> None:
        """Enqueue a bell in each queue where none waits: payloads by the queues' `list_key`.

        Any queue's broker rings all of them.
        """
        raise NotImplementedError

    def forget_calls(self, name: str) -> None:
        """Forget the calls of periodic work that were taken: it is done, or was tried."""

    def take_bells(self) -> list[Bell]:
        """Return bells taken from the queue; wait a while where there is none."""
        raise NotImplementedError

    def recover(self) -> None:
        """Prepare for the next try after an error."""

    def park(self, payload: str) -> None:
        """Keep what is unreadable where no pusher takes it again."""
        raise NotImplementedError

    def ping(self) -> bool:
        """Let the cluster start whatever state the broker is in; dequeue waits for it."""
        return True

    def _note_failure(self) -> None:
        if not self._is_failing:  # once per outage, not once per second
            logger.exception("Queue %r cannot be read; trying until it can.", self.list_key)
        self._is_failing = True

    def _note_success(self) -> None:
        if self._is_failing:
            logger.warning("Queue %r can be read again.", self.list_key)
        self._is_failing = False

    def _is_readable(self, bell: Bell) -> bool:
        try:
            _task_of(bell[1])
        except Exception:  # a rotated key, a moved class, garbage, no task at all
            logger.exception("An unreadable bell of queue %r is parked.", self.list_key)
            self.park(bell[1])
            return False
        return True


class DatabaseBellBroker(BellBroker, ORM):  # type: ignore[misc]
    """Bells in the database: with NOTIFY on PostgreSQL, with a Unix datagram on SQLite.

    Locks are set and compared by the database's clock: those of several machines differ, and step.
    What pushers ask is written out: to begin to use the ORM takes 6 MB of each process.
    """

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key=list_key)
        self._sleeper: Sleeper | None = None
        self._listening: psycopg.Connection[Any] | None = None

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """Return the queue's rows. The stock broker closes connections here, even in use."""
        return OrmQ.objects.using(Conf.ORM)

    def enqueue(self, task: str) -> None:
        """Add a bell unless one waits unclaimed; a call of periodic work, unless one of the same.

        For calls that is looked at before, by the scheduler, which holds the lock of the work's
        schedule.
        """
        call = periodic_call(task)
        if call is None:
            self.ring_all({self.list_key: task})
        elif call not in map(periodic_call, self._unclaimed()):
            self._insert({self.list_key: task})

    def ring_all(self, payloads: Mapping[str, str]) -> None:
        """Add bells where none waits unclaimed, and wake the clusters: one statement."""
        self._insert(payloads, unless_one_waits=True)

    def _insert(self, payloads: Mapping[str, str], *, unless_one_waits: bool = False) -> None:
        rows, parameters = rows_of(("text", [*payloads]), ("text", [*payloads.values()]))
        waiting = (
            "SELECT 1 FROM django_q_ormq AS waiting "  # noqa: S608
            f"WHERE waiting.key = bell.key AND waiting.lock <= {self._now}"
        )
        condition = f"NOT EXISTS ({waiting})" if unless_one_waits else "true"
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute(
                f"WITH bell (key, payload) AS ({rows}) "  # noqa: S608
                "INSERT INTO django_q_ormq (key, payload, lock) "
                f"SELECT key, payload, {self._now} FROM bell WHERE {condition}" + self._notify(),
                parameters,
            )
        if not self._on_postgres:
            for key in payloads:
                wake(key)

    def take_bells(self) -> list[Bell]:
        """Take a bell, or a call with a lock that outlives it; or wait to be woken."""
        first = self._first_free()
        if first is None:
            self._wait()
            return []
        return self._take(*first)

    def _first_free(self) -> tuple[int, str] | None:
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute(
                "SELECT id, payload FROM django_q_ormq "  # noqa: S608
                f"WHERE key = %s AND lock <= {self._now} ORDER BY id LIMIT 1",
                [self.list_key],
            )
            found: tuple[int, str] | None = cursor.fetchone()
        return found

    def _take(self, pk: int, payload: str) -> list[Bell]:
        """Return what another pusher has not taken meanwhile."""
        connection = connections[Conf.ORM]
        if _is_kept(payload):
            change = f"UPDATE django_q_ormq SET lock = {IN_SECONDS[connection.vendor]}"  # noqa: S608
            values = [Conf.RETRY]
        else:
            change, values = "DELETE FROM django_q_ormq", []
        with connection.cursor() as cursor:
            cursor.execute(f"{change} WHERE id = %s AND lock <= {self._now}", [*values, pk])
            return [(None, payload)] if cursor.rowcount else []

    def forget_calls(self, name: str) -> None:
        """Delete the calls that were taken, those of workers that died over the same work too."""
        taken = self.get_connection().filter(lock__gt=Now(), lock__lt=PARKED_UNTIL)
        done = [
            pk
            for pk, payload in taken.values_list("pk", "payload")
            if periodic_call(payload) == (name,)
        ]
        taken.filter(pk__in=done).delete()

    def park(self, payload: str) -> None:
        """Lock the row for good."""
        self.get_connection().filter(key=self.list_key, payload=payload).update(lock=PARKED_UNTIL)

    def recover(self) -> None:
        """Reconnect."""
        connections[Conf.ORM].close()
        self.close()

    def close(self) -> None:
        """Stop listening for wake-ups."""
        if self._listening:
            self._listening.close()
            self._listening = None
        if self._sleeper:
            self._sleeper.close()
            self._sleeper = None

    def _unclaimed(self) -> list[str]:
        free = self.get_connection().filter(key=self.list_key, lock__lte=Now())
        return list(free.values_list("payload", flat=True))

    def _wait(self) -> None:
        if self._on_postgres:
            self._wait_for_notification()
        else:
            self._sleeper = self._sleeper or Sleeper(self.list_key)
            self._sleeper.wait(Conf.POLL)

    def _wait_for_notification(self) -> None:
        if self._listening is None:
            self._listening = self._listen()
            return  # a bell rung before LISTEN was heard by nobody: look again first
        for _ in self._listening.notifies(timeout=Conf.POLL, stop_after=1):
            pass

    def _listen(self) -> "psycopg.Connection[Any]":
        params = connections[Conf.ORM].get_connection_params()
        for ours in ("cursor_factory", "context", "pool"):
            params.pop(ours, None)
        listening = psycopg.connect(**params, autocommit=True)
        listening.execute(
            psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel))
        )
        return listening

    def _notify(self) -> str:
        channel = f"'bell_' || regexp_replace(key, '{_NOT_IN_CHANNELS}', '_', 'g')"
        return f" RETURNING pg_notify({channel}, '')" if self._on_postgres else ""

    @property
    def _channel(self) -> str:
        return "bell_" + re.sub(_NOT_IN_CHANNELS, "_", str(self.list_key))

    @property
    def _now(self) -> str:
        return NOW[connections[Conf.ORM].vendor]

    @property
    def _on_postgres(self) -> bool:
        return connections[Conf.ORM].vendor == "postgresql"


def periodic_call(payload: str) -> tuple[Any, ...] | None:
    """Return the arguments of a call of periodic work, which tell of which; None: it is a bell."""
    task = _read(payload)
    return tuple(task["args"]) if task and task["func"] == RUN_PERIODIC else None


def _is_kept(payload: str) -> bool:
    """Tell whether a row stays as it is taken. Not a hint, nor what nobody would ever forget."""
    task = _read(payload)
    return task is None or (task["func"] == RUN_PERIODIC and len(task["args"]) == 1)


def _read(payload: str) -> dict[str, Any] | None:
    """Return the task of a payload, or None where it has none: dequeue says so, and parks it."""
    with suppress(Exception):
        return _task_of(payload)
    return None


def _task_of(payload: str) -> dict[str, Any]:
    """Return the task of a payload. Raises whatever a pusher or a worker would die of."""
    task: dict[str, Any] = SignedPackage.loads(payload)
    _ = task["func"], task["kwargs"], tuple(task["args"])
    return task
