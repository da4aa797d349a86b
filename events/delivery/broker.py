"""django-q2's brokers, made to carry bells: at most one waits per queue, and dequeue never raises.

They carry calls of periodic work too (see `events.queue.schedule`): one of each work waits.

The stock pusher sleeps ten seconds and dies when dequeue raises, and the stock brokers delete what
they cannot read. Both would be lost bells; the sweep would mend it, but late.
"""

import logging
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import psycopg
import redis
from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django_q.brokers import Broker
from django_q.brokers.orm import ORM
from django_q.brokers.redis_broker import Redis
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.delivery.progress import told
from events.delivery.wakeup import Sleeper, wake
from events.queue import RUN_PERIODIC
from events.rows import NOW

logger = logging.getLogger(__name__)

PARKED_UNTIL = datetime(9999, 1, 1, tzinfo=UTC)  # an unreadable bell is kept for inspection
PAUSE_AFTER_ERROR_S = 1.0
REDIS_RING_TIMEOUT_S = 0.25  # a request may wait this long, once, before the bell goes quiet
REDIS_WAIT_S = 2
REDIS_ANSWER_S = REDIS_WAIT_S + 3.0  # a pusher has time

Bell = tuple[Any, str]  # acknowledgement id, signed payload


def run_cluster(queue: str) -> None:
    """Serve a queue in this process until SIGTERM, and until its children are done."""
    from django_q.cluster import Cluster  # who only rings has no use for it

    Conf.CLUSTER_NAME = queue  # read from the environment at import, which was before the fork
    multiprocessing.current_process().name = queue  # django-q2 makes it the process's title
    Cluster().start()
    for sentinel in multiprocessing.active_children():
        sentinel.join()


class BellBroker(Broker):  # type: ignore[misc]
    """What both brokers share: calm in the face of errors."""

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

    def acknowledge(self, task_id: Any) -> None:
        """Forget a bell that was answered. One that cannot be forgotten rings again: harmless."""
        try:
            super().acknowledge(task_id)
        except Exception:
            logger.exception("Bell %s of queue %r was not acknowledged.", task_id, self.list_key)

    def take_bells(self) -> list[Bell]:
        """Return bells taken from the queue; wait a while where there is none."""
        raise NotImplementedError

    def recover(self) -> None:
        """Prepare for the next try after an error."""

    def park(self, bell: Bell) -> None:
        """Keep an unreadable bell where no pusher takes it again."""
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
            task = SignedPackage.loads(bell[1])
            _ = task["func"], task["args"], task["kwargs"]  # what a pusher or worker would die of
        except Exception:  # a rotated key, a moved class, garbage, no task at all
            logger.exception("An unreadable bell of queue %r is parked.", self.list_key)
            self.park(bell)
            return False
        return True


class DatabaseBellBroker(BellBroker, ORM):  # type: ignore[misc]
    """Bells in the database: with NOTIFY on PostgreSQL, with a Unix datagram on SQLite.

    Locks are set and compared by the database's clock: those of several machines differ, and step.
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
        """Add a bell unless one waits unclaimed, and wake the cluster: one statement.

        A call of periodic work is added unless one of the same work waits. That is looked at
        before, by the scheduler, which holds the lock of the work's schedule.
        """
        call = _periodic_call(task)
        if call and call in map(_periodic_call, self._unclaimed()):
            return
        connection = connections[Conf.ORM]
        now = NOW[connection.vendor]
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO django_q_ormq (key, payload, lock) SELECT %s, %s, {now} "  # noqa: S608
                "WHERE %s OR NOT EXISTS "
                f"(SELECT 1 FROM django_q_ormq WHERE key = %s AND lock <= {now})" + self._notify(),
                [self.list_key, task, call is not None, self.list_key],
            )
        if not self._on_postgres:
            wake(self.list_key)

    def take_bells(self) -> list[Bell]:
        """Claim one bell with a lock that outlives the drain, or wait to be woken."""
        free = self.get_connection().filter(key=self.list_key, lock__lte=Now())
        if free.exists():  # asked first, so that looking takes no turn to write
            return _claim_one(free)
        self._wait()
        return []

    def park(self, bell: Bell) -> None:
        """Lock the row for good."""
        self.get_connection().filter(pk=bell[0]).update(lock=PARKED_UNTIL)

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
        return f" RETURNING pg_notify('{self._channel}', '')" if self._on_postgres else ""

    @property
    def _channel(self) -> str:
        return "bell_" + "".join(c if c.isalnum() else "_" for c in str(self.list_key))

    @property
    def _on_postgres(self) -> bool:
        return connections[Conf.ORM].vendor == "postgresql"


def _periodic_call(task: str) -> tuple[Any, ...] | None:
    """Return the arguments of a call of periodic work, which tell of which; None: it is a bell."""
    try:
        read = SignedPackage.loads(task)
        return tuple(read["args"]) if read["func"] == RUN_PERIODIC else None
    except Exception:  # unreadable: dequeue parks it
        return None


def _claim_one(free: "QuerySet[OrmQ]") -> list[Bell]:
    """Lock one bell until its drain must be over. Other pushers pass over it; none waits."""
    with transaction.atomic(using=Conf.ORM):
        bell = free.select_for_update(skip_locked=True).order_by("pk").first()
        if bell is None:
            return []
        answered_by = Now() + timedelta(seconds=Conf.RETRY)
        OrmQ.objects.using(Conf.ORM).filter(pk=bell.pk).update(lock=answered_by)
    return [(bell.pk, bell.payload)]


class RedisBellBroker(BellBroker, Redis):  # type: ignore[misc]
    """Bells in Redis or Valkey. It may lose every one of them: deliveries are in the database.

    A call of periodic work that it loses is not made up for: the next one comes at its time.
    """

    _RING = "if redis.call('llen', KEYS[1]) == 0 then redis.call('rpush', KEYS[1], ARGV[1]) end"

    @staticmethod
    def get_connection(list_key: str | None = None) -> "redis.Redis":
        """Return the client that rings: it gives up fast and never tries twice."""
        return _redis(Conf.REDIS, REDIS_RING_TIMEOUT_S)

    def enqueue(self, task: str) -> None:
        """Add a bell unless one waits; a call of periodic work, unless one of the same does."""
        call = _periodic_call(task)
        if call is None:
            self.connection.eval(self._RING, 1, self.list_key, task)
        elif call not in map(_periodic_call, self._waiting()):
            self.connection.rpush(self.list_key, task)

    def take_bells(self) -> list[Bell]:
        """Take a bell, or wait for one."""
        taken: Any = _redis(Conf.REDIS, REDIS_ANSWER_S).blpop([self.list_key], REDIS_WAIT_S)
        return [(None, taken[1])] if taken else []

    def close(self) -> None:
        """Close the connections; whoever needs one again opens it."""
        self.connection.close()
        _redis(Conf.REDIS, REDIS_ANSWER_S).close()

    def park(self, bell: Bell) -> None:
        """Keep the payload in a list of its own."""
        _redis(Conf.REDIS, REDIS_ANSWER_S).rpush(f"{self.list_key}:parked", bell[1])

    def _waiting(self) -> list[str]:
        waiting: Any = self.connection.lrange(self.list_key, 0, -1)
        return [payload.decode() for payload in waiting]

    # Heartbeats stay in the process: they are nobody's business, and Redis may hang.
    set_stat = Broker.set_stat
    get_stat = Broker.get_stat
    get_stats = Broker.get_stats


@cache
def _redis(url: str, timeout_s: float) -> "redis.Redis":
    """Return this process's client. All queues share its connections; a fork opens new ones."""
    # redis-py repeats commands by itself unless told otherwise; a repeated RPUSH is a second bell.
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=REDIS_RING_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )
