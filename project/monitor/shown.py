"""What the monitor's pages show: figures that are put together, and put into words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from events.delivery.clock import database_now
from events.interventions import Intervention, InterventionState, ItemState
from events.models import ReceiverState
from events.operations import staged
from events.operations.bounded import MOST
from events.operations.failure_groups import FailureGroup, failure_groups
from events.operations.glance import Glance, glance
from events.operations.minutes import STILL, Pace, paces, series
from events.operations.workers import QueueStatus, WorkerStatus, queue_statuses, worker_statuses
from project.alarms.models import Alarm
from project.alarms.thresholds import threshold_s
from project.alarms.watching import open_alarms
from project.monitor import charts

INTERVENTIONS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverRow:
    """A receiver, as a line of the table."""

    name: str
    queue: str
    paused: ReceiverState | None
    due: str
    later: str
    running: str
    waiting: str
    dead: str
    has_dead: bool
    oldest: str  # "": nothing is due
    is_late: bool
    per_minute: float
    p50: str
    p95: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Everything at a moment."""

    at: datetime
    receivers: list[ReceiverRow]
    groups: list[FailureGroup]  # the latest first
    alarms: list[Alarm]
    interventions: list[Intervention]
    queues: list[QueueStatus]
    workers: list[WorkerStatus]
    periods: list[charts.Period]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an intervention has come."""

    intervention: Intervention
    counts: list[tuple[str, int]]  # what there is, in words
    touched: int  # of the set
    is_kept: bool  # not pruned
    is_open: bool
    is_stopped: bool


def dashboard() -> Dashboard:
    """Return how everything is doing. So many statements, however much there is."""
    workers = worker_statuses()
    return Dashboard(
        at=database_now(),
        receivers=receiver_rows(glance()),
        groups=latest_first(failure_groups()),
        alarms=open_alarms(),
        interventions=list(Intervention.objects.order_by("-pk")[:INTERVENTIONS_SHOWN]),
        queues=queue_statuses(workers),
        workers=workers,
        periods=periods(),
    )


def periods(receiver: str = "") -> list[charts.Period]:
    """Return the charts of the last hour and day, of one receiver or all together."""
    return [
        charts.hour(series(receiver=receiver, **charts.HOUR)),
        charts.day(series(receiver=receiver, **charts.DAY)),
    ]


def receiver_rows(seen: Iterable[Glance]) -> list[ReceiverRow]:
    """Return the lines of the table: first what needs somebody, then what works, then the rest."""
    lately = paces()
    rows = [_row(each, lately.get(each.receiver, STILL)) for each in seen]
    return sorted(rows, key=_urgency)  # within each in order of name: it is kept


def latest_first(groups: Sequence[FailureGroup]) -> list[FailureGroup]:
    """Return groups: first what is going on and to be tried again, then by when the last died."""
    return sorted(groups, key=lambda g: (g.retrying > 0, _when(g.last_at)), reverse=True)


def progress_of(intervention: Intervention) -> Progress:
    """Return how far an intervention has come."""
    counts = staged.counts_of(intervention)
    return Progress(
        intervention=intervention,
        counts=[(str(ItemState(state).label), count) for state, count in counts.items() if count],
        touched=intervention.size - counts[ItemState.FROZEN],
        is_kept=intervention.ended_at is None or any(counts.values()),
        is_open=intervention.ended_at is None,
        is_stopped=intervention.state == InterventionState.STOPPED,
    )


def up_to(count: int) -> str:
    """Return a count that was bounded, in words."""
    return f"{MOST:,}+" if count > MOST else str(count)


def _row(seen: Glance, pace: Pace) -> ReceiverRow:
    age_s, limit_s = seen.oldest_due_age_s, threshold_s(seen.receiver)
    return ReceiverRow(
        name=seen.receiver,
        queue=seen.queue,
        paused=seen.paused,
        due=up_to(seen.due),
        later=up_to(seen.later),
        running=up_to(seen.running),
        waiting=up_to(seen.waiting),
        dead=up_to(seen.dead),
        has_dead=seen.dead > 0,
        oldest="" if age_s is None else lasting(age_s),
        is_late=bool(limit_s and age_s and age_s >= limit_s),
        per_minute=pace.per_minute,
        p50="" if pace.p50_s is None else lasting(pace.p50_s),
        p95="" if pace.p95_s is None else lasting(pace.p95_s),
    )


def lasting(seconds: float) -> str:
    """Return a time that passed, as short as can be."""
    if seconds < 1:
        return _("%(count)d ms") % {"count": round(seconds * 1000)}
    if seconds < 100:
        return _("%(count)s s") % {"count": f"{seconds:.1f}"}
    return str(timedelta(seconds=round(seconds)))


def _urgency(row: ReceiverRow) -> int:
    if row.has_dead or row.is_late or row.paused:
        return 0
    at_work = row.per_minute or any(each != "0" for each in (row.due, row.later, row.running))
    return 1 if at_work else 2


def _when(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
