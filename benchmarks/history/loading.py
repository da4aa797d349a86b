"""Load a history: as many people as it takes for so many events, and everything they set off."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Max
from django.utils import timezone

from accounts.models import User
from benchmarks.history.deliveries import Deliveries
from benchmarks.history.people import AMOUNT, CURRENCY, POINTS, People
from benchmarks.history.rows import Rows, copy, reset_sequences, vacuum
from coupons.models import Campaign
from events.models import Delivery, Event, ReceiverState
from events.receivers import all_receivers
from points.models import RewardRule

DAYS = 90  # that a history goes back
DELIVERIES_PER_EVENT = 3.29  # before old ones are pruned; benchmarks/history/people.py makes it so
PEOPLE_AT_ONCE = 5_000
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was inserted."""

    rows: dict[str, int]  # by table
    seconds: float

    @property
    def events(self) -> int:
        """How many events there are more."""
        return self.rows["events.Event"]

    @property
    def deliveries(self) -> int:
        """How many deliveries there are more."""
        return self.rows["events.Delivery"]


def load(
    *,
    events: int,
    deliveries: int | None = None,
    seed: int = 1,
    days: float = DAYS,
    failing_days: float = DAYS,
) -> Loaded:
    """Insert a history of the last `days`, up to now. Deliveries: by default two for each event.

    What went wrong before the last `failing_days` was seen to, and is done.

    The database is a migrated PostgreSQL. Rows that it has stay as they are. As in life, finished
    deliveries of the older events have been pruned: that makes their number. What was loaded is
    vacuumed and analysed, as it would have been by autovacuum.
    """
    if connection.vendor != "postgresql":
        raise RuntimeError("A history is loaded by COPY: set DATABASE_URL to a PostgreSQL.")
    began = time.monotonic()
    ends_at = timezone.now().timestamp()
    begins_at = ends_at - days * 86_400
    kept = (2 * events if deliveries is None else deliveries) / (events * DELIVERIES_PER_EVENT)
    keep_from = ends_at - min(1.0, kept) * (ends_at - begins_at)
    rows, random = Rows(), Random(seed)  # noqa: S311  # of no secrets
    made = Deliveries(rows, random, first_id=_next(Delivery, "pk"), keep_from=keep_from)
    campaign, rule = _campaign(), _rule()
    position = _next(Event, "position")
    people = People(
        rows,
        made,
        random,
        campaign_id=str(campaign.pk),
        rule_id=str(rule.pk),
        next_position=position,
        taken_codes=User.objects.values_list("referral_code", flat=True),
        fail_from=ends_at - failing_days * 86_400,
    )
    with _copying() as copy_next:
        while people.next_position - position < events:
            done = (people.next_position - position) / events
            # Until a minute ago: all that it sets off is over by now.
            people.sign_up(begins_at + done * (ends_at - 60 - begins_at))
            if people.count % PEOPLE_AT_ONCE == 0:
                copy_next(rows.hand_over())
        copy_next(rows.hand_over())
    _settle(people, campaign, keep_from)
    vacuum(rows.inserted)
    return Loaded(rows=rows.inserted, seconds=round(time.monotonic() - began, 1))


@contextmanager
def _copying() -> Iterator[Callable[[dict[str, str]], None]]:
    """Insert rows beside the making of the next: yield what takes them, as soon as it is free."""
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing = [writer.submit(lambda: None)]

        def copy_next(texts: dict[str, str]) -> None:
            writing.pop().result()
            writing.append(writer.submit(copy, texts))

        yield copy_next
        writing.pop().result()


def _next(model: Any, field: str) -> int:
    latest: int = model.objects.aggregate(latest=Max(field))["latest"] or 0
    return latest + 1


def _campaign() -> Campaign:
    """Return the campaign that gives everybody a coupon: the same for each load."""
    found, _ = Campaign.objects.get_or_create(
        name="Welcome (history)",
        defaults={
            "trigger": "registration",
            "status": "active",
            "starts_at": timezone.now() - YEAR,
            "amount": AMOUNT,
            "currency": CURRENCY,
            "valid_days": 30,
        },
    )
    return found


def _rule() -> RewardRule:
    found, _ = RewardRule.objects.get_or_create(
        version=1, defaults={"points": POINTS, "active_from": timezone.now() - YEAR}
    )
    return found


def _settle(people: People, campaign: Campaign, keep_from: float) -> None:
    """Write the sums of what was inserted, and tell what was pruned."""
    pruned = datetime.fromtimestamp(keep_from, UTC)
    with transaction.atomic():
        Campaign.objects.filter(pk=campaign.pk).update(
            issued_count=F("issued_count") + people.coupons
        )
        _settle_balances(people)
        for receiver in all_receivers():
            ReceiverState.objects.update_or_create(
                name=receiver.name,
                defaults={"first_seen_at": pruned, "pruned_before": pruned, "types_seen": {}},
            )
    reset_sequences()


def _settle_balances(people: People) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE rewarded (id uuid, rewards bigint) ON COMMIT DROP")
        with cursor.copy("COPY rewarded FROM STDIN") as into:
            into.write("".join(f"{each.id}\t{each.rewards}\n" for each in people.inviters))
        cursor.execute(
            "UPDATE points_pointsaccount SET balance = rewards * %(points)s,"
            " lifetime_earned = rewards * %(points)s, version = rewards"
            " FROM rewarded WHERE user_id = id",
            {"points": POINTS},
        )
