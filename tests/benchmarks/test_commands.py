"""Each benchmark at its smallest: that it works, and prints what docs/benchmarks.md is made of.

`make bench-test` runs these. What others do in the comparison needs `.venv-peers`, and is left out.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.served import ROOT

pytestmark = pytest.mark.long
COMMON = {"benchmark", "command", "options", "machine"}


def run(name: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark, and return its document."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DATABASE_URL")}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert document.keys() > COMMON
    return document


def test_signup_four_ways_counts_what_became_of_everybody() -> None:
    document = run("signup_four_ways", "--rounds=1", "--seconds=1", "--services", "healthy", "down")

    assert document["table"].keys() == {"inline", "promotion", "threads", "events"}
    events = document["table"]["events"]["down"]
    assert events["success_percent"]["median"] == 100
    assert events["lost"]["median"] == events["doubled"]["median"] == 0
    assert document["table"]["inline"]["down"]["success_percent"]["median"] == 0


@pytest.mark.parametrize("database", ["postgres", "sqlite"])
def test_deliveries_are_counted(database: str) -> None:
    contestants = ["usher", "usher_inviter_reward_same_inviter"]
    contestants += ["statement"] if database == "postgres" else []

    document = run(
        "deliveries",
        *("--rounds=1", "--events=60", "--peer-events=20", f"--database={database}"),
        *("--only", *contestants),
    )

    figures = document["deliveries_per_s"]
    assert figures.keys() == {"coupon_backlog", "coupon_live", "points_backlog", "points_live"}
    assert figures["coupon_backlog"]["usher"]["median"] > 0
    assert figures["points_backlog"].keys() == set(contestants)
    assert (document["sign_ups_beside_usher"] is None) == (database == "postgres")


def test_commit_to_effect_has_percentiles() -> None:
    document = run(
        "commit_to_effect", "--rounds=1", "--seconds=1", "--rates", "20", "--without-celery"
    )

    for database in ("postgres", "sqlite"):
        assert document["latency"][database]["20_per_s"]["usher"]["p50_ms"]["median"] > 0


def test_cost_in_path_has_publish_and_registration() -> None:
    document = run("cost_in_path", "--rounds=1", "--events=3", "--receivers", "1", "5")

    for database in ("postgres", "sqlite"):
        figures = document["databases"][database]
        assert figures["registration_5_receivers_ms"]["median"] > figures["hash_ms"]["median"] / 2
        assert "share_of_a_registration" in document["judgement"][database]


def test_growth_compares_sizes() -> None:
    document = run("growth", "--rounds=1", "--times=1", "--sizes", "300", "600")

    assert document["sizes"].keys() == {"300", "600"}
    assert "claim_100_beside_600" in document["judgement"]
    assert document["prune"]["alone"]["rows_per_s"] > 0


def test_scaling_tells_waits_and_costs() -> None:
    document = run("scaling", "--rounds=1", "--events=60", "--machines", "1", "2")

    assert document["machines"].keys() == {
        *("bare_1", "bare_2", "newcomer_coupon_1", "newcomer_coupon_2")
    }
    assert document["sizing"].keys() == {"1000_per_s", "100000_per_s"}


def test_partitioning_compares_tables() -> None:
    document = run("partitioning", "--rounds=1", "--rows=20000", "--parts=4")

    assert document["tables"].keys() == {"plain", "parted"}
    assert document["forget_oldest_part_ms"].keys() == {"plain", "parted"}


def test_idle_names_the_parts() -> None:
    document = run("idle", "--rounds=1", "--seconds=2", "--warm-up=1")

    assert {"all", "web", "sweep"} < document["parts"].keys()
    assert document["parts"]["all"]["pss_mb"]["median"] > 0


def test_relay_neighbours_are_judged_beside_one_that_answers_and_beside_none() -> None:
    document = run("relay_neighbours", "--rounds=1", "--seconds=1")

    assert document["neighbour"].keys() == {"none", "answers", "hangs"}
    assert document["judgement"].keys() == {"p95_hangs_to_none", "p95_hangs_to_answers"}


def test_sign_ups_are_measured_while_a_backlog_is_left() -> None:
    document = run("signup_under_backlog", "--backlog=200", "--seconds=1")

    assert document["busy"]["count"] == document["idle"]["count"] == 20
    assert document["judgement"]["backlog_left_in_every_queue"]["reached"]
