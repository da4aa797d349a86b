"""Seconds until all is well after a kill, a pause, an outage or poison, each beside its target.

    python -m benchmarks.recovery [SCENARIO …] [--database sqlite|postgres] [--broker orm|redis]
                                  [--seconds 60] [--rate 10]

Every scenario runs the real web server and worker on a fresh database, and prints what it measured
as JSON. Without a name all run that the database and the broker allow. Exit code 1: a target was
missed.
"""
