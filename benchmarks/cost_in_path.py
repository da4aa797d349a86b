"""What events cost a sign-up: publish and doorbell alone, and the whole with 1 to 20 receivers.

    python -m benchmarks.cost_in_path [--rounds 5] [--events 200] [--receivers 1 5 10 20]
        [--databases postgres sqlite]

`publish_and_bell`: a transaction that publishes one event with so many receivers, commits, and
rings their bells, less an empty transaction's commit; nobody takes the bells. `registration`: a
whole one through the service that pages and API call, with the password's argon2 hash, its event
having so many receivers. Each receiver is of one of three queues, as Usher's own are.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks.deliveries.contest import create_database
from benchmarks.rounds import alternating, apart, judged, parser, report, spread
from benchmarks.served import PASSWORD, prepare
from benchmarks.servers import DurablePostgres, running

QUEUES = 3
WARM_UP = 3
PUBLISH_TARGET_MS = 3.0
SHARE_TARGET = 0.05
GROWTH_TARGET = 1.05


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--events", type=int, default=200, help="in each round, of each")
    made.add_argument("--receivers", nargs="+", type=int, default=[1, 5, 10, 20])
    made.add_argument("--databases", nargs="+", default=["postgres", "sqlite"])
    options = made.parse_args()
    figures = {name: apart(_measure, options, name) for name in options.databases}
    judgement = {name: _judge(options, each) for name, each in figures.items()}
    report("cost_in_path", options, databases=figures, judgement=judgement)


def _measure(options: argparse.Namespace, database: str) -> dict[str, Any]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        if database == "postgres":
            server = stack.enter_context(running(DurablePostgres))
            os.environ["DATABASE_URL"] = create_database(server.url, "own")
        else:
            os.environ["DATABASE_URL"] = f"sqlite:///{directory}/usher.sqlite3"
        os.environ["EMAIL_URL"] = "dummymail://"
        prepare(directory, 1, settings="benchmarks.settings")
        rounds: dict[str, list[float]] = {}
        for _, count in alternating(options.receivers, options.rounds):
            for name, ms in _round(options, count).items():
                rounds.setdefault(name, []).append(ms)
    return {name: spread(values, 3) for name, values in rounds.items()}


def _round(options: argparse.Namespace, count: int) -> dict[str, float]:
    """Return the medians of one round with so many receivers, in milliseconds."""
    from accounts.signals import user_registered
    from benchmarks.bare.signals import coupon_owed

    figures = {"commit_alone_ms": _median_ms(_commit, options.events), "hash_ms": _hash_ms()}
    with _receivers_of(coupon_owed, count):
        whole = _median_ms(_publish, options.events)
    figures[f"publish_and_bell_{count}_receivers_ms"] = whole - figures["commit_alone_ms"]
    with _receivers_of(user_registered, count), _argon2():
        figures[f"registration_{count}_receivers_ms"] = _median_ms(_register, options.events)
    return figures


def _median_ms(call: Callable[[], object], times: int) -> float:
    for _ in range(WARM_UP):
        call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return median(taken) * 1000


def _commit() -> None:
    """A transaction that writes one row: what a change costs without an event."""
    from django.db import transaction

    from benchmarks.bare.models import BareSignUp

    with transaction.atomic():
        BareSignUp(user_id=uuid4()).save(force_insert=True)


def _publish() -> None:
    from django.db import transaction

    from benchmarks.bare.models import BareSignUp
    from benchmarks.bare.signals import CouponOwed, coupon_owed

    user_id = uuid4()
    with transaction.atomic():
        BareSignUp(user_id=user_id).save(force_insert=True)
        coupon_owed.publish(CouponOwed(user_id=user_id))


def _register() -> None:
    from accounts.services import register

    register(email=f"{uuid4().hex}@example.com", password=PASSWORD)


def _hash_ms() -> float:
    from django.contrib.auth.hashers import make_password

    with _argon2():
        return _median_ms(lambda: make_password(PASSWORD), 5)


@contextmanager
def _argon2() -> Iterator[None]:
    """Hash passwords as production does."""
    from django.test.utils import override_settings

    hashers = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    with override_settings(PASSWORD_HASHERS=hashers):
        yield


@contextmanager
def _receivers_of(signal: Any, count: int) -> Iterator[None]:
    """Let a signal have so many receivers, and no others, during a block."""
    from events.receivers import (
        Guarantee,
        all_receivers,
        background_receiver,
        disconnect_receiver,
    )

    own = dict(signal.queues_by_receiver)
    theirs = [r for r in all_receivers() if r.name in own]
    for receiver in theirs:
        del signal.queues_by_receiver[receiver.name]
        signal.disconnect(dispatch_uid=receiver.name)
    names = [f"measured.{number}" for number in range(count)]
    for number, name in enumerate(names):
        connect = background_receiver(
            signal, guarantee=Guarantee.AT_LEAST_ONCE, queue=f"measured{number % QUEUES}", name=name
        )
        connect(lambda event: None)
    try:
        yield
    finally:
        for name in names:
            disconnect_receiver(name)
        for receiver in theirs:
            signal.queues_by_receiver[receiver.name] = own[receiver.name]
            signal.connect(receiver.ring, weak=False, dispatch_uid=receiver.name)


def _judge(options: argparse.Namespace, figures: dict[str, Any]) -> dict[str, Any]:
    fewest, most = min(options.receivers), max(options.receivers)
    usual = min(options.receivers, key=lambda count: abs(count - 5))
    publish = figures[f"publish_and_bell_{usual}_receivers_ms"]["median"]
    registration = {
        count: figures[f"registration_{count}_receivers_ms"]["median"] for count in (fewest, most)
    }
    whole = figures[f"registration_{usual}_receivers_ms"]["median"]
    return {
        "publish_and_bell_ms": judged(publish, at_most=PUBLISH_TARGET_MS),
        "share_of_a_registration": judged(round(publish / whole, 3), at_most=SHARE_TARGET),
        f"registration_{most}_against_{fewest}_receivers": judged(
            round(registration[most] / registration[fewest], 3), at_most=GROWTH_TARGET
        ),
    }


if __name__ == "__main__":
    main()
