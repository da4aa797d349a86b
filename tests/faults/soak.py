"""Kill for a long time: `python -m tests.faults.soak --kills 1000 --registrations 20000`.

It starts servers of its own, prints the seed at once and one JSON document at the end, and exits
with 1 where anything was lost, doubled or stuck. The same seed draws the same plan of victims and
faults; when a process meets which of them is up to the machine. The tests of CI are short runs.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.servers.client import DIRECTORY, RunningHost, Server, new_server
from tests.servers.plugin import DEFAULTS

RATE_PER_S = 25.0
SEEDS = 1_000_000


def main() -> int:
    """Run as the arguments say."""
    arguments = _parse()
    print(f"seed {arguments.seed}", file=sys.stderr, flush=True)
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="usher-soak-", dir="/tmp"))
        result = _run(arguments, directory, stack)
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if result["sound"] and not arguments.keep:
        shutil.rmtree(directory)
    else:
        print(f"Logs and history are in {directory}", file=sys.stderr)
    return 0 if result["sound"] else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--registrations", type=int, default=20_000)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--broker", choices=["orm", "redis"], default="orm")
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="registrations a second")
    parser.add_argument("--seed", type=int, default=random.randrange(SEEDS))  # noqa: S311
    parser.add_argument("--keep", action="store_true", help="keep logs, history and database")
    parser.add_argument("--out", type=Path, help="write the JSON to this file too")
    arguments = parser.parse_args()
    if not 0 < arguments.kills <= arguments.registrations or arguments.rate <= 0:
        parser.error("there must be at least one kill, as many registrations, and a rate above 0")
    return arguments


def _run(arguments: argparse.Namespace, directory: Path, stack: ExitStack) -> dict[str, Any]:
    if DIRECTORY not in os.environ:  # a run of pytest has a host already
        host = RunningHost()
        stack.callback(host.close)
        os.environ[DIRECTORY] = str(host.directory)
    postgres = _server("postgres", stack) if arguments.database == "postgres" else None
    valkey = _server("valkey", stack) if arguments.broker == "redis" else None
    _set_up(directory, postgres, valkey)
    from tests.faults.chaos.plan import draw  # these need Django
    from tests.faults.chaos.run import Setting, is_sound, run

    plan = draw(
        seed=arguments.seed,
        registrations=arguments.registrations,
        kills=arguments.kills,
        database=arguments.database,
        broker=arguments.broker,
    )
    setting = Setting(
        directory=directory,
        database=arguments.database,
        broker=arguments.broker,
        rate_per_s=arguments.rate,
        postgres=postgres,
        valkey=valkey,
    )
    result = run(plan, setting, _reporter())
    return {"sound": is_sound(result), **result}


def _server(kind: str, stack: ExitStack) -> Server:
    server, discard = new_server(kind)
    stack.callback(discard)
    return server


def _set_up(directory: Path, postgres: Server | None, valkey: Server | None) -> None:
    """Choose the database for this process and those it starts, and migrate it."""
    os.environ.update(DEFAULTS)
    os.environ["USHER_VAR"] = str(directory)
    os.environ["DATABASE_URL"] = postgres.url if postgres else f"sqlite:///{directory}/db.sqlite3"
    os.environ["QUEUE_BROKER"] = "redis" if valkey else "orm"
    os.environ["REDIS_URL"] = valkey.url if valkey else ""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    connection.settings_dict.get("OPTIONS", {}).pop("pool", None)  # its threads outlive no outage
    call_command("migrate", run_syncdb=True, verbosity=0)  # the probe has no migrations
    if postgres:
        with connection.cursor() as cursor:
            # Tests' servers lose what they committed last when they are stopped; these must not.
            cursor.execute("ALTER DATABASE usher SET synchronous_commit = on")
    connection.close()


def _reporter() -> Callable[[str], None]:
    def report(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    return report


if __name__ == "__main__":
    sys.exit(main())
