"""A history to measure on, of any size: people, events, deliveries, effects, failures; by COPY.

    DATABASE_URL=postgres://… python -m benchmarks.history --events 1000000

The database is a migrated PostgreSQL. What it has stays, so that a history can grow in steps. From
Python, with Django set up:

    from benchmarks.history.loading import load
    loaded = load(events=1_000_000)
"""
