"""Measure and print: see the package."""

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.deliveries import usher
from benchmarks.deliveries.contest import create_database
from benchmarks.deliveries.peers import ON_POSTGRES, ON_SQLITE, Peer
from benchmarks.deliveries.statement import Statement
from benchmarks.rounds import alternating, judged, parser, ratio, report, spread
from benchmarks.served import ROOT, prepare
from benchmarks.servers import DurablePostgres, DurableValkey, running

PEERS_PYTHON = str(ROOT / ".venv-peers" / "bin" / "python")
PER_TASK = set(ON_POSTGRES)
REAL: dict[str, tuple[str, dict[str, bool]]] = {  # what is measured, and how
    "usher_newcomer_coupon": ("coupon", {"by_itself": True}),
    "usher_newcomer_coupon_and_projection": ("coupon", {}),
    "usher_inviter_reward": ("points", {"by_itself": True}),
    "usher_inviter_reward_and_projection": ("points", {}),
    "usher_inviter_reward_same_inviter": ("points", {"by_itself": True, "one_inviter": True}),
    "usher_inviter_reward_same_inviter_and_projection": ("points", {"one_inviter": True}),
}
KINDS = ("coupon", "points")
MODES = ("backlog", "live")
P99_TARGET_MS = 150.0


def main() -> None:
    """Measure and print."""
    options = _options()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        contestants = _contestants(options, directory, stack)
        figures = _measure(options, contestants)
        waited = [seconds for each in contestants for seconds in getattr(each, "waited_s", [])]
    beside = usher.waiting_of(waited)
    report(
        "deliveries",
        options,
        deliveries_per_s=figures,
        judgement=_judge(figures, options.database, beside),
        sign_ups_beside_usher=beside,
    )


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--events", type=int, default=20_000, help="of Usher, and of the limit")
    made.add_argument("--peer-events", type=int, default=5_000)
    made.add_argument("--live-events", type=int, default=2_000, help="of everybody")
    made.add_argument("--database", choices=["postgres", "sqlite"], default="postgres")
    made.add_argument("--processes", type=int, default=2, help="workers, or connections")
    made.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    made.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    made.add_argument("--only", nargs="+", default=[], help="contestants")
    made.add_argument("--peers-python", default=PEERS_PYTHON)
    return made.parse_args()


def _contestants(options: argparse.Namespace, directory: Path, stack: ExitStack) -> list[Any]:
    """Start the servers and prepare those who are to be measured."""
    peers: tuple[str, ...] = ON_SQLITE if options.database == "sqlite" else ON_POSTGRES
    if options.database == "sqlite":
        server_url, redis_url = "sqlite", "redis://127.0.0.1:1/0"
        own = f"sqlite:///{directory / 'usher.sqlite3'}"
    else:
        server_url = stack.enter_context(running(DurablePostgres)).url
        redis_url = stack.enter_context(running(DurableValkey)).url
        own = create_database(server_url, "own")
    usher.use(own)
    os.environ["EMAIL_URL"] = "dummymail://"
    prepare(str(directory), options.processes, settings="benchmarks.settings")
    contestants: list[Any] = [usher.Usher(own)]
    if options.database == "postgres":
        contestants.append(Statement(own, "statement"))
    contestants += [usher.Real(own, name, **how) for name, (_, how) in REAL.items()]
    contestants = [each for each in contestants if _is_wanted(options, each.name)]
    contestants += [
        Peer(name, options.peers_python, server_url, redis_url, number, directory)
        for number, name in enumerate(peers, start=1)
        if _is_wanted(options, name)
    ]
    return contestants


def _is_wanted(options: argparse.Namespace, name: str) -> bool:
    return not options.only or name in options.only


def _measure(options: argparse.Namespace, contestants: list[Any]) -> dict[str, Any]:
    """Return, for each kind of work and mode, what each contestant does in a second."""
    figures: dict[str, Any] = {}
    for kind in options.kinds:
        for mode in options.modes:
            rates: dict[str, list[float]] = {}
            chosen = [each for each in contestants if _takes_part(each.name, kind, mode)]
            for _, each in alternating(chosen, options.rounds):
                events = options.peer_events if isinstance(each, Peer) else options.events
                if mode == "live":
                    events = options.live_events
                measured = getattr(each, mode)(kind, events, options.processes)
                rates.setdefault(each.name, []).append(measured)
            figures[f"{kind}_{mode}"] = {name: spread(each, 0) for name, each in rates.items()}
    return figures


def _takes_part(name: str, kind: str, mode: str) -> bool:
    if name in REAL:
        return REAL[name][0] == kind and mode == "backlog"
    return name != "statement" or mode == "backlog"


def _judge(figures: dict[str, Any], database: str, waited: dict[str, Any] | None) -> dict[str, Any]:
    """Return the claims beside their targets, as far as they were measured."""
    coupon = figures.get("coupon_backlog", {})
    points = figures.get("points_backlog", {})
    judgement: dict[str, Any] = {}
    peers = {name: each for name, each in coupon.items() if name in PER_TASK}
    if "usher" in coupon and peers:
        best = max(peers, key=lambda name: float(peers[name]["median"]))
        wanted = 10 if database == "postgres" else 20
        judgement["times_the_best_peer"] = {
            "peer": best,
            **judged(ratio(coupon["usher"], peers[best]), at_least=wanted),
        }
    if waited:
        judgement["sign_ups_p99_ms"] = judged(waited["p99_ms"], at_most=P99_TARGET_MS)
    if database == "postgres" and "usher" in coupon:
        judgement["per_s"] = judged(coupon["usher"]["median"], at_least=6000)
    if "statement" in coupon and "usher" in coupon:
        judgement["share_of_the_limit"] = judged(
            ratio(coupon["usher"], coupon["statement"]), at_least=0.5
        )
    for name, each in {**coupon, **points}.items():
        if name in REAL and database == "postgres":
            judgement[name] = judged(each["median"], at_least=2000)
    return judgement


if __name__ == "__main__":
    main()
