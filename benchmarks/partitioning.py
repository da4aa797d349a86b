"""Whether partitions of the delivery table would help: claim, settle and forget, with and without.

    python -m benchmarks.partitioning [--rows 10000000] [--parts 10] [--rounds 5]

Makes two copies of the delivery table on PostgreSQL, one of them partitioned by ranges of its id,
fills both with the same finished rows and a few that are due, and measures the statements of a
claim, of its settlement, and of forgetting the oldest part: by DELETE, or by dropping a partition.
Neither copy has the foreign key to events. docs/performance.md tells what follows from it.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from typing import Any

import psycopg

from benchmarks.deliveries.contest import create_database
from benchmarks.rounds import alternating, parser, report, spread
from benchmarks.served import prepare
from benchmarks.servers import DurablePostgres, running

TABLES = ("plain", "parted")
BATCH = 100
DUE = 5_000

FILL = """
INSERT INTO {table} (id, event_id, receiver, target, queue, type, version, key, position, state,
    due_at, attempts, run_alone, lease_owner, last_error, fingerprint, skipped_by, skip_reason,
    finished_at)
SELECT n, gen_random_uuid(), 'r' || n % 5, '', 'q', 't', 1, n::text, n,
    CASE WHEN n > {done} THEN 'pending' ELSE 'done' END,
    CASE WHEN n > {done} THEN now() END, 1, false, '', '', '', '', '',
    CASE WHEN n <= {done} THEN now() - interval '1 day' END
FROM generate_series(1, {rows}) AS n
"""
CLAIM = """
WITH taken AS MATERIALIZED (
    SELECT id FROM {table} WHERE receiver = 'r1' AND due_at <= statement_timestamp()
    ORDER BY due_at, id LIMIT {batch} FOR UPDATE SKIP LOCKED
)
UPDATE {table} AS d SET state = 'running', due_at = NULL, lease_token = gen_random_uuid(),
    lease_expires_at = statement_timestamp() + interval '30 seconds'
FROM taken WHERE d.id = taken.id RETURNING d.id
"""
SETTLE = """
UPDATE {table} SET state = 'done', finished_at = statement_timestamp(), lease_token = NULL,
    lease_expires_at = NULL WHERE id = ANY(%s)
"""


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=10_000_000)
    made.add_argument("--parts", type=int, default=10)
    options = made.parse_args()
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        server = stack.enter_context(running(DurablePostgres))
        url = create_database(server.url, "own")
        prepare_database(url, directory)
        session = stack.enter_context(psycopg.connect(url, autocommit=True))
        _make(session, options)
        rounds: dict[str, dict[str, list[float]]] = {table: {} for table in TABLES}
        for _, table in alternating(TABLES, options.rounds):
            for name, ms in _round(session, table).items():
                rounds[table].setdefault(name, []).append(ms)
        forgotten = {table: round(_forget(session, table, options), 1) for table in TABLES}
    report(
        "partitioning",
        options,
        tables={
            table: {name: spread(values, 2) for name, values in each.items()}
            for table, each in rounds.items()
        },
        forget_oldest_part_ms=forgotten,
    )


def prepare_database(url: str, directory: str) -> None:
    """Migrate, for the real table's columns and indexes."""
    import os

    os.environ |= {"DATABASE_URL": url, "EMAIL_URL": "dummymail://"}
    prepare(directory, 1, settings="benchmarks.settings")


def _make(session: psycopg.Connection[Any], options: argparse.Namespace) -> None:
    """Make both tables with the real one's indexes, but for unique ones, which need the id too."""
    like = "LIKE events_delivery INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING IDENTITY"
    session.execute(f"CREATE TABLE plain ({like})")
    session.execute(f"CREATE TABLE parted ({like}) PARTITION BY RANGE (id)")
    size = options.rows // options.parts
    for number in range(options.parts):
        end = "MAXVALUE" if number == options.parts - 1 else str((number + 1) * size + 1)
        session.execute(
            f"CREATE TABLE parted_{number} PARTITION OF parted "
            f"FOR VALUES FROM ({number * size + 1}) TO ({end})"
        )
    indexes = session.execute(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'events_delivery'"
    ).fetchall()
    for table in TABLES:
        session.execute(FILL.format(table=table, rows=options.rows, done=options.rows - DUE))
        for number, (definition,) in enumerate(indexes):
            columns = definition.partition(" USING ")[2]
            unique = "UNIQUE" in definition
            if unique and "(id)" not in columns:
                columns = columns.replace(")", ", id)", 1)
            kind = "UNIQUE INDEX" if unique else "INDEX"
            session.execute(f"CREATE {kind} {table}_index_{number} ON {table} USING {columns}")
        session.execute(f"VACUUM ANALYZE {table}")


def _round(session: psycopg.Connection[Any], table: str) -> dict[str, float]:
    began = time.perf_counter()
    ids = [id_ for (id_,) in session.execute(CLAIM.format(table=table, batch=BATCH))]
    claimed = time.perf_counter()
    session.execute(SETTLE.format(table=table), [ids])
    settled = time.perf_counter()
    return {"claim_100_ms": (claimed - began) * 1000, "settle_100_ms": (settled - claimed) * 1000}


def _forget(session: psycopg.Connection[Any], table: str, options: argparse.Namespace) -> float:
    """Return the milliseconds that it takes to be rid of the oldest part."""
    began = time.perf_counter()
    if table == "parted":
        session.execute("DROP TABLE parted_0")
    else:
        session.execute(f"DELETE FROM plain WHERE id <= {options.rows // options.parts}")  # noqa: S608
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
