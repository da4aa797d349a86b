"""Run a peer: see the package."""

import argparse
import os
import signal
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

MODULES = {
    "celery": "celery_redis",
    "django_q_orm": "django_q",
    "django_q_redis": "django_q",
    "domain_events": "domain_events",
    "dramatiq": "dramatiq_redis",
    "procrastinate": "procrastinate_pg",
}
IN_ITS_TRANSACTION = {"django_q_orm", "domain_events", "procrastinate"}
CHUNK = 500


def main() -> None:
    """Prepare, publish or work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("peer", choices=sorted(MODULES))
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("prepare")
    publish = actions.add_parser("publish")
    publish.add_argument("kind", choices=["coupon", "points"])
    publish.add_argument("count", type=int)
    publish.add_argument("--live", action="store_true", help="each in a transaction of its own")
    publish.add_argument("--rate", type=float, help="live, so many a second; prints each commit")
    work = actions.add_parser("work")
    work.add_argument("--processes", type=int, default=2)
    actions.add_parser("manage").add_argument("arguments", nargs="+")
    options = parser.parse_args()
    os.environ["BENCH_PEER"] = options.peer
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.peers.settings"
    _setup()
    {"prepare": _prepare, "publish": _publish, "work": _work, "manage": _manage}[options.action](
        options, import_module(f"benchmarks.peers.{MODULES[options.peer]}")
    )


def _setup() -> None:
    import django

    django.setup()


def _prepare(options: argparse.Namespace, peer: Any) -> None:
    from django.core.management import call_command

    from benchmarks.peers.work import create_tables

    call_command("migrate", verbosity=0)
    create_tables()


def _publish(options: argparse.Namespace, peer: Any) -> None:
    """Sign people up: one after the other, or many in a transaction where that is quicker."""
    from django.db import transaction

    print("began", flush=True)
    if options.rate:
        return _publish_at_a_rate(options, peer)
    at_once = 1 if options.live else CHUNK
    for first in range(0, options.count, at_once):
        with transaction.atomic():
            for _ in range(min(at_once, options.count - first)):
                _sign_up(options, peer)
    return None


def _publish_at_a_rate(options: argparse.Namespace, peer: Any) -> None:
    from django.db import transaction

    committed: list[float] = []  # before the task is sent
    began = time.monotonic()
    for number in range(options.count):
        time.sleep(max(0.0, began + number / options.rate - time.monotonic()))
        with transaction.atomic():
            transaction.on_commit(lambda: committed.append(time.time()))
            user_id = _sign_up(options, peer)
        print(user_id, committed.pop())


def _sign_up(options: argparse.Namespace, peer: Any) -> UUID:
    from django.db import transaction

    from benchmarks.peers.work import sign_up

    user_id = uuid4()
    sign_up(user_id)
    enqueue = partial(peer.enqueue, options.kind, str(uuid4()), str(user_id))
    if options.peer in IN_ITS_TRANSACTION:
        enqueue()
    else:
        transaction.on_commit(enqueue)
    return user_id


def _work(options: argparse.Namespace, peer: Any) -> None:
    """Run the peer's workers until SIGTERM."""
    running = [subprocess.Popen(command) for command in peer.workers(options.processes)]

    def stop(*_: Any) -> None:
        for process in running:
            process.terminate()

    signal.signal(signal.SIGTERM, stop)
    sys.exit(max(process.wait() for process in running))


def _manage(options: argparse.Namespace, peer: Any) -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *options.arguments])


if __name__ == "__main__":
    main()
