"""What the backbone tells Prometheus, read from the database: the same in every process."""

from collections import defaultdict
from collections.abc import Iterator

from django.conf import settings
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from events.models import DeliveryState
from events.operations.status import (
    NOTHING_DUE,
    Due,
    due_by_receiver,
    paused_receivers,
    unfinished_counts,
)
from events.operations.tally import (
    ALL,
    BUCKETS_S,
    FAILED,
    FINISHED,
    LATENCY,
    PUBLISHED,
    SUM_S,
    bucket_name,
)
from events.receivers import all_receivers
from events.signals import all_signals
from events.tallies import Tally

Totals = dict[str, dict[str, dict[str, float]]]  # by metric, label, and bucket or state


class BackboneCollector(Collector):
    """The state of all receivers now, and totals of what they did. A handful of statements."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Every receiver has a value in each, so that none is absent."""
        totals = _totals()
        yield _release()
        yield from _backlog(unfinished_counts(), due_by_receiver())
        yield _paused(paused_receivers())
        yield _finished(totals[FINISHED])
        yield _failed(totals[FAILED])
        yield _latency(totals[LATENCY])
        yield _published(totals[PUBLISHED])

    def describe(self) -> list[Metric]:
        """Return nothing: a registry that is made at import must not ask the database."""
        return []


def _totals() -> Totals:
    totals: Totals = defaultdict(lambda: defaultdict(dict))
    for tally in Tally.objects.all():
        totals[tally.metric][tally.label][tally.bucket] = tally.value
    return totals


def _release() -> Metric:
    metric = GaugeMetricFamily(
        "usher_release_info", "The release that answers.", labels=["release"]
    )
    metric.add_metric([settings.RELEASE], 1)
    return metric


def _backlog(counts: dict[str, dict[str, int]], due: dict[str, Due]) -> Iterator[Metric]:
    deliveries = GaugeMetricFamily(
        "usher_deliveries",
        "Deliveries that are not finished, by what they wait for; dead: for an operator.",
        labels=["receiver", "state"],
    )
    age = GaugeMetricFamily(
        "usher_oldest_due_age_seconds",
        "For how long the oldest delivery that could be run has been due; 0: nothing is due.",
        labels=["receiver"],
    )
    for receiver in all_receivers():
        mine, now = counts.get(receiver.name, {}), due.get(receiver.name, NOTHING_DUE)
        states = {
            "due": now.count,
            "scheduled": max(0, mine.get(DeliveryState.PENDING, 0) - now.count),
            "running": mine.get(DeliveryState.RUNNING, 0),
            "waiting": mine.get(DeliveryState.WAITING, 0),
            "dead": mine.get(DeliveryState.DEAD, 0),
        }
        for state, count in states.items():
            deliveries.add_metric([receiver.name, state], count)
        age.add_metric([receiver.name], now.oldest_age_s or 0.0)
    yield deliveries
    yield age


def _paused(paused: set[str]) -> Metric:
    metric = GaugeMetricFamily(
        "usher_receiver_paused", "1 where an operator paused the receiver.", labels=["receiver"]
    )
    for receiver in all_receivers():
        metric.add_metric([receiver.name], int(receiver.name in paused))
    return metric


def _finished(totals: dict[str, dict[str, float]]) -> Metric:
    metric = CounterMetricFamily(
        "usher_deliveries_finished",
        "Deliveries that were done, or skipped by an operator.",
        labels=["receiver", "state"],
    )
    for receiver in all_receivers():
        for state in (DeliveryState.DONE.value, DeliveryState.SKIPPED.value):
            count = totals[receiver.name].get(state, 0)
            metric.add_metric([receiver.name, state], count)
    return metric


def _failed(totals: dict[str, dict[str, float]]) -> Metric:
    metric = CounterMetricFamily(
        "usher_attempts_failed", "Attempts at deliveries that failed.", labels=["receiver"]
    )
    for receiver in all_receivers():
        metric.add_metric([receiver.name], totals[receiver.name].get("", 0))
    return metric


def _latency(totals: dict[str, dict[str, float]]) -> Metric:
    metric = HistogramMetricFamily(
        "usher_delivery_latency_seconds",
        "From the publishing of an event to the end of its delivery; replays excepted.",
        labels=["receiver"],
    )
    for receiver in all_receivers():
        mine = totals[receiver.name]
        names = [*(bucket_name(bound_s) for bound_s in BUCKETS_S), ALL]
        buckets = [(name, mine.get(name, 0.0)) for name in names]
        metric.add_metric([receiver.name], buckets, sum_value=mine.get(SUM_S, 0.0))
    return metric


def _published(totals: dict[str, dict[str, float]]) -> Metric:
    metric = CounterMetricFamily(
        "usher_events",
        'Events that were published; sign-ups are those of type="accounts.user_registered".',
        labels=["type"],
    )
    for signal in all_signals():
        metric.add_metric([signal.type], totals[signal.type].get("", 0))
    return metric
