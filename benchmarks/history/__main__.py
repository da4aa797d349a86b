"""Load a history into the database that DATABASE_URL names; print what was inserted as JSON."""

import argparse
import json
import os


def main() -> None:
    """Load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--deliveries", type=int, help="two for each event, by default")
    parser.add_argument("--days", type=float, default=90, help="that it goes back")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    import django

    django.setup()
    from benchmarks.history.loading import load

    loaded = load(
        events=options.events,
        deliveries=options.deliveries,
        seed=options.seed,
        days=options.days,
    )
    print(json.dumps({"seconds": loaded.seconds, "rows": loaded.rows}, indent=2))


if __name__ == "__main__":
    main()
