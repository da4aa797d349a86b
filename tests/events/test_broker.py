"""The brokers carry bells: one at a time, never lost in silence, never raising into the pusher."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from events import queue
from events.delivery import broker as broker_module
from events.delivery import redis_broker as redis_module
from events.delivery.broker import DatabaseBellBroker
from events.delivery.redis_broker import RedisBellBroker
from events.delivery.wakeup import Sleeper, wake
from tests.parallel import run_at_once

ODD_NAME = "größe.邮件/night-mails"
ARRIVES_WITHIN_S = 20  # a hang, not a target

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits, so that an empty queue answers at once."""
    monkeypatch.setattr(Conf, "POLL", 0)
    monkeypatch.setattr(broker_module, "PAUSE_AFTER_ERROR_S", 0)
    monkeypatch.setattr(redis_module, "WAIT_S", 0.05)


@pytest.fixture
def database_broker(impatient: None) -> Iterator[DatabaseBellBroker]:
    with closing(DatabaseBellBroker(list_key="probe")) as broker:
        yield broker


@pytest.fixture
def redis_broker(
    impatient: None, valkey_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedisBellBroker]:
    monkeypatch.setattr(Conf, "REDIS", valkey_server.url)
    with closing(RedisBellBroker(list_key=f"probe-{uuid4()}")) as broker:
        yield broker


@pytest.fixture(params=["database_broker", "redis_broker"])
def broker(request: pytest.FixtureRequest) -> Any:
    """Return each broker in turn."""
    return request.getfixturevalue(request.param)


def bell(id: str = "1") -> str:
    """Return a payload as django-q2 makes it."""
    task = {"id": id, "func": queue.DRAIN, "args": ("probe",), "kwargs": {}}
    signed: str = SignedPackage.dumps(task)
    return signed


def call(name: str) -> str:
    """Return the payload of a call of periodic work."""
    task = {"id": "1", "func": queue.RUN_PERIODIC, "args": (name,), "kwargs": {}}
    signed: str = SignedPackage.dumps(task)
    return signed


def take(broker: Any) -> list[Any]:
    """Return the bells a pusher gets; on PostgreSQL its first look only starts to listen."""
    return broker.dequeue() or broker.dequeue() or []


def test_a_bell_is_taken_once(broker: Any) -> None:
    broker.enqueue(bell())

    assert len(take(broker)) == 1
    assert take(broker) == []


def test_at_most_one_bell_waits(broker: Any) -> None:
    for _ in range(3):
        broker.enqueue(bell())

    assert len(take(broker)) == 1
    assert take(broker) == []


def test_of_bells_rung_together_those_are_added_where_none_waits(broker: Any) -> None:
    kind, name = type(broker), str(uuid4())
    with closing(kind(list_key=f"{name}-1")) as one, closing(kind(list_key=f"{name}-2")) as two:
        one.enqueue(bell(id="first"))

        broker.ring_all({each.list_key: bell(id="together") for each in (one, two)})

        assert list(map(task_ids, (one, two))) == [["first"], ["together"]]


def task_ids(broker: Any) -> list[str]:
    """Take all that waits; return the ids of its tasks."""
    taken = itertools.takewhile(bool, (take(broker) for _ in itertools.count()))
    return [SignedPackage.loads(payload)["id"] for bells in taken for _, payload in bells]


@pytest.mark.database("postgres")
def test_a_bell_that_another_broker_rings_wakes_who_listens(impatient: None) -> None:
    with (
        closing(DatabaseBellBroker(list_key=ODD_NAME)) as one,
        closing(DatabaseBellBroker(list_key="probe")) as other,
    ):
        one.dequeue()  # begins to listen
        assert one._listening is not None

        other.ring_all({ODD_NAME: bell()})

        heard = list(one._listening.notifies(timeout=ARRIVES_WITHIN_S, stop_after=1))
        assert len(heard) == 1


def test_a_bell_rung_while_another_is_being_answered_waits_for_its_turn(broker: Any) -> None:
    broker.enqueue(bell())
    take(broker)

    broker.enqueue(bell())

    assert len(take(broker)) == 1


def test_of_calls_of_the_same_work_one_waits_beside_the_bell_and_other_calls(broker: Any) -> None:
    for payload in (bell(), call("probe.work"), call("probe.work"), call("probe.other")):
        broker.enqueue(payload)

    taken = [bells[0][1] for _ in range(3) if (bells := take(broker))]
    calls = [SignedPackage.loads(payload)["args"] for payload in taken]
    assert calls == [("probe",), ("probe.work",), ("probe.other",)]
    assert take(broker) == []


def test_a_call_that_comes_while_another_is_being_answered_waits_for_its_turn(broker: Any) -> None:
    broker.enqueue(call("probe.work"))
    take(broker)

    broker.enqueue(call("probe.work"))

    assert len(take(broker)) == 1


@pytest.mark.parametrize("payload", ["garbage", "a:b:c"])
def test_an_unreadable_bell_is_parked_and_harms_nobody(broker: Any, payload: str) -> None:
    broker.enqueue(payload)

    assert take(broker) == []
    broker.enqueue(bell())
    assert len(take(broker)) == 1


def test_a_parked_bell_is_kept_in_the_database(database_broker: DatabaseBellBroker) -> None:
    database_broker.enqueue("garbage")

    take(database_broker)

    parked = OrmQ.objects.get()
    assert parked.payload == "garbage"
    assert parked.lock == broker_module.PARKED_UNTIL


def test_a_parked_bell_is_kept_in_redis(redis_broker: RedisBellBroker) -> None:
    redis_broker.enqueue("garbage")

    take(redis_broker)

    parked = redis_broker.connection.lrange(f"{redis_broker.list_key}:parked", 0, -1)
    assert parked == [b"garbage"]


def test_all_queues_of_a_process_share_its_connections(redis_broker: RedisBellBroker) -> None:
    another = RedisBellBroker(list_key=f"probe-{uuid4()}")

    another.enqueue(bell())
    redis_broker.enqueue(bell())

    assert another.connection is redis_broker.connection
    assert len(another.connection.connection_pool._available_connections) == 1


@pytest.mark.parametrize("off_by", [timedelta(days=-1), timedelta(hours=1)])
def test_a_process_whose_clock_is_wrong_neither_hides_nor_doubles_bells(
    off_by: timedelta, database_broker: DatabaseBellBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = timezone.now() + off_by
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: wrong)
        database_broker.enqueue(bell())
        database_broker.enqueue(bell())
    taken = take(database_broker)
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    taken_again = take(database_broker)

    assert len(taken) == 1
    assert taken_again == []


def test_pushers_of_one_queue_pass_over_each_others_bells(
    database_broker: DatabaseBellBroker,
) -> None:
    database_broker.enqueue(bell())

    def take_one() -> list[Any]:
        with closing(DatabaseBellBroker(list_key="probe")) as mine:
            return take(mine) or []

    taken = [bell for bells in run_at_once([take_one] * 4) for bell in bells]

    assert len(taken) == 1


def test_a_bell_is_forgotten_as_it_is_taken(database_broker: DatabaseBellBroker) -> None:
    database_broker.enqueue(bell())

    taken = take(database_broker)

    assert len(taken) == 1
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize(
    ("function", "arguments"), [("another.release.drain", ("probe",)), (queue.RUN_PERIODIC, ())]
)
def test_what_nobody_would_ever_forget_comes_once(
    function: str, arguments: tuple[str, ...], database_broker: DatabaseBellBroker
) -> None:
    task = {"id": "1", "func": function, "args": arguments, "kwargs": {}}
    database_broker.enqueue(SignedPackage.dumps(task))

    taken = take(database_broker)

    assert len(taken) == 1
    assert not OrmQ.objects.exists()


def test_a_bell_without_arguments_is_parked(database_broker: DatabaseBellBroker) -> None:
    database_broker.enqueue(SignedPackage.dumps({"id": "1", "func": queue.DRAIN, "kwargs": {}}))

    assert take(database_broker) == []
    assert OrmQ.objects.get().lock == broker_module.PARKED_UNTIL


def test_a_call_is_kept_until_it_was_answered(database_broker: DatabaseBellBroker) -> None:
    for payload in (call("probe.work"), call("probe.other")):
        database_broker.enqueue(payload)
    for _ in range(2):
        take(database_broker)
    kept = OrmQ.objects.order_by("pk").first()
    database_broker.enqueue(call("probe.work"))  # the next, which nobody has taken

    database_broker.forget_calls("probe.work")

    assert kept is not None
    assert kept.lock > timezone.now() + timedelta(seconds=Conf.RETRY - 60)
    left = [SignedPackage.loads(row.payload)["args"] for row in OrmQ.objects.order_by("pk")]
    assert left == [("probe.other",), ("probe.work",)]
    assert not OrmQ.objects.filter(pk=kept.pk).exists()


def test_a_call_whose_worker_died_comes_again(
    database_broker: DatabaseBellBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "RETRY", 0)
    database_broker.enqueue(call("probe.work"))
    take(database_broker)

    assert len(take(database_broker)) == 1


@pytest.mark.parametrize("failing", ["take_bells", "park"])
def test_errors_never_reach_the_pusher(
    failing: str, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> list[Any]:
        raise OSError("the server is away")

    broker.enqueue("garbage")  # which is to be parked
    monkeypatch.setattr(broker, failing, fail)

    assert broker.dequeue() is None
    assert broker.dequeue() is None


def test_a_waiting_pusher_is_woken_by_the_bell(
    database_broker: DatabaseBellBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "POLL", 20)
    taken: list[Any] = []

    def push() -> None:
        with closing(DatabaseBellBroker(list_key="probe")) as waiting:
            while not taken:
                taken.extend(waiting.dequeue() or [])
        connection.close()

    started = time.monotonic()
    pusher = threading.Thread(target=push)
    pusher.start()
    database_broker.enqueue(bell())
    while pusher.is_alive() and time.monotonic() - started < 15:
        wake("probe")  # the thread may not have been waiting yet
        pusher.join(0.1)

    assert len(taken) == 1
    assert time.monotonic() - started < 15


def test_a_datagram_ends_the_wait_of_every_process_of_the_queue() -> None:
    with closing(Sleeper("probe")) as first, closing(Sleeper("probe", name="other")) as second:
        first.wait(0)
        second.wait(0)
        started = time.monotonic()

        wake("probe")
        first.wait(20)
        second.wait(20)

    assert time.monotonic() - started < 10


def test_a_broker_that_fails_is_left_in_peace_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = mock.Mock(list_key="probe")
    broker.ring_all.side_effect = ConnectionError("refused")
    monkeypatch.setattr(queue, "_broker", lambda name: broker)
    monkeypatch.setattr(queue, "_quiet_until", 0.0)

    for _ in range(5):
        queue.ring("probe")

    assert broker.ring_all.call_count == 1
