"""How long it takes to issue coupons to a list of people.

    python -m benchmarks.bulk_issue [--people 10000]

Runs the real worker on a fresh SQLite file (or DATABASE_URL, an empty database). The time is taken
from the request to the moment at which the last line is decided; that of the preview and of the
request itself, which staff wait for, is shown beside it.
"""

import argparse
import json
import tempfile
import time
from typing import Any

from benchmarks.served import prepare, worker

TARGET_S = 20
POLL_S = 0.1
WARM_UP_S = 3  # the worker's processes have started by then


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory, workers=1)
        with worker():
            time.sleep(WARM_UP_S)
            print(json.dumps(_measure(options.people), indent=2))


def _measure(number: int) -> dict[str, Any]:
    from django.db import connection

    from coupons.bulk_issuing import preview, progress_of, start

    campaign_id, staff, people = _prepare(number)
    began = time.monotonic()
    preview(campaign_id=campaign_id, people=people)
    previewed = time.monotonic()
    bulk_issue = start(campaign_id=campaign_id, people=people, by=staff)
    requested = time.monotonic()
    while bulk_issue.finished_at is None:
        time.sleep(POLL_S)
        bulk_issue.refresh_from_db()
    seconds = time.monotonic() - previewed
    return {
        "benchmark": "bulk_issue",
        "database": connection.vendor,
        "people": number,
        "outcomes": progress_of(bulk_issue),
        "preview_s": round(previewed - began, 2),
        "request_s": round(requested - previewed, 2),
        "seconds": round(seconds, 1),
        "coupons_per_s": round(number / seconds),
        "target_s": TARGET_S,
        "below_target": seconds < TARGET_S,
    }


def _prepare(number: int) -> tuple[Any, Any, str]:
    """Make the people, staff and a campaign; return its id, the staff, and the list."""
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from coupons.models import Campaign

    user: Any = get_user_model()
    addresses = [f"person{n}@example.com" for n in range(number)]
    people = [user(email=email, email_canonical=email) for email in addresses]
    user.objects.bulk_create(people, batch_size=1000)
    campaign = Campaign.objects.create(
        name="For the loyal",
        trigger="manual",
        status="active",
        starts_at=timezone.now(),
        basis_points=1000,
        valid_days=30,
        stock=number,
    )
    return campaign.pk, people[0], "\n".join(addresses)


if __name__ == "__main__":
    main()
