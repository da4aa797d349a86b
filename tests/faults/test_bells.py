"""Bells that cannot be read, and keys that change: parked and kept, and everything is delivered."""

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from redis import Redis

from events.delivery.broker import PARKED_UNTIL
from events.models import Delivery
from tests.conftest import Publish
from tests.probe.observe import effects
from tests.processes import FAMILY, descendants_of, run_script, wait_until, worker

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.database("sqlite"),  # any would do: once is enough
]

PUBLISH = """
from django.db import transaction
from tests.probe.signals import Happened, happened
with transaction.atomic():
    happened.publish(Happened(key="{key}", number={number}))
"""
OLD, NEW = "an-old-key-that-signs-nothing-of-value", "a-new-key-that-signs-nothing-of-value"


@pytest.fixture(params=["orm", "redis"])
def broker(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the environment of each broker in turn."""
    if request.param == "orm":
        return {"QUEUE_BROKER": "orm"}
    return {
        "QUEUE_BROKER": "redis",
        "REDIS_URL": request.getfixturevalue("private_valkey").url,
    }


def parked(broker: dict[str, str]) -> int:
    """Return how many bells are parked."""
    if broker["QUEUE_BROKER"] == "orm":
        return int(OrmQ.objects.filter(lock=PARKED_UNTIL).count())
    with Redis.from_url(broker["REDIS_URL"]) as client:
        keys: Any = client.keys("*:parked")
        return sum(int(client.llen(key)) for key in keys)


def test_a_new_secret_key_loses_nothing_of_what_waits(broker: dict[str, str]) -> None:
    assert run_script(PUBLISH.format(key="a", number=1), SECRET_KEY=OLD, **broker) == 0

    with worker("probe", SECRET_KEY=NEW, **broker) as supervisor:
        wait_until(lambda: effects("record") == [1])
        family = {process.pid for process in descendants_of(supervisor.pid)}
        run_script(PUBLISH.format(key="b", number=2), SECRET_KEY=OLD, **broker)  # not yet restarted
        run_script(PUBLISH.format(key="c", number=3), SECRET_KEY=NEW, **broker)
        wait_until(lambda: effects("record") == [1, 2, 3])
        survivors = {process.pid for process in descendants_of(supervisor.pid)}

    assert survivors == family
    assert parked(broker) >= 1
    assert Delivery.objects.filter(queue="probe", state="done").count() == 6


def unpicklable() -> str:
    """Return a payload, well signed, of a class that no other process can import."""
    module = ModuleType("gone_with_the_release")
    exec("class Task: pass", module.__dict__)  # noqa: S102
    sys.modules[module.__name__] = module
    try:
        payload: str = SignedPackage.dumps(module.Task())
    finally:
        del sys.modules[module.__name__]
        importlib.invalidate_caches()
    return payload


def test_bells_that_cannot_be_read_are_parked_and_the_cluster_lives(publish: Publish) -> None:
    now = "CURRENT_TIMESTAMP" if connection.vendor == "postgresql" else "datetime('now')"
    payloads = ["garbage", "a:b:c", unpicklable(), SignedPackage.dumps("no task at all")]
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO django_q_ormq (key, payload, lock) VALUES ('probe', %s, {now})",  # noqa: S608
            [[payload] for payload in payloads],
        )

    with worker("probe") as supervisor:
        wait_until(lambda: len(descendants_of(supervisor.pid)) >= FAMILY)
        family = {process.pid for process in descendants_of(supervisor.pid)}
        publish(1)
        wait_until(lambda: effects("record") == [1])
        wait_until(lambda: OrmQ.objects.filter(lock=PARKED_UNTIL).count() == len(payloads))
        survivors = {process.pid for process in descendants_of(supervisor.pid)}

    assert survivors == family
    assert set(OrmQ.objects.filter(lock=PARKED_UNTIL).values_list("payload", flat=True)) == set(
        payloads
    )
