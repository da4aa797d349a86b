"""Publishing records the event with the change, and announces it after the commit only."""

from contextlib import suppress
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from events import context, queue
from events.context import UnnamedCause, correlated, handling
from events.models import Delivery, Event
from events.outbox import PublishedOutsideTransaction
from events.receivers import (
    Receiver,
    connect_receiver,
    disconnect_receiver,
    get_receiver,
)
from events.signals import EventSignal
from tests.conftest import Publish
from tests.probe.signals import Happened, happened

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _broker_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ring at once: another test's broker may have failed."""
    monkeypatch.setattr(queue, "_quiet_until", 0.0)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the queues whose bells were rung, instead of ringing them."""
    bells: list[str] = []
    monkeypatch.setattr(queue, "_ring_now", bells.extend)
    return bells


def test_publishing_outside_a_transaction_is_refused() -> None:
    with pytest.raises(PublishedOutsideTransaction):
        happened.publish(Happened(key="k", number=1))

    assert not Event.objects.exists()


def test_an_event_and_one_delivery_per_receiver_are_recorded(publish: Publish) -> None:
    event = publish(7)

    row = Event.objects.get()
    assert (row.event_id, row.type, row.key) == (event.id, "probe.happened", "someone")
    assert row.data == {"key": "someone", "number": 7}
    receivers = set(Delivery.objects.values_list("receiver", flat=True))
    assert receivers == {
        "probe.record",
        "probe.record_batch",
        "probe.call_outside",
        "probe.call_once",
    }


def test_a_rollback_leaves_no_event_and_rings_no_bell(rung: list[str]) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        happened.publish(Happened(key="k", number=1))
        _ = 1 / 0

    assert not Event.objects.exists()
    assert not Delivery.objects.exists()
    assert rung == []


def test_a_rolled_back_savepoint_announces_nothing_of_it(rung: list[str]) -> None:
    heard: list[int] = []

    def listen(event: object, **kwargs: object) -> None:
        heard.append(event.data.number)  # type: ignore[attr-defined]

    happened.connect(listen)
    try:
        with transaction.atomic():
            happened.publish(Happened(key="k", number=1))
            with suppress(ZeroDivisionError), transaction.atomic():
                happened.publish(Happened(key="k", number=2))
                _ = 1 / 0
            happened.publish(Happened(key="k", number=3))
    finally:
        happened.disconnect(listen)

    assert heard == [1, 3]
    assert list(Event.objects.values_list("data__number", flat=True)) == [1, 3]


def test_each_queue_is_rung_once_after_a_transaction_with_many_events(rung: list[str]) -> None:
    with transaction.atomic():
        happened.publish(Happened(key="a", number=1))
        happened.publish_many([Happened(key="b", number=2), Happened(key="c", number=3)])
        for number in (4, 5):
            with transaction.atomic():
                happened.publish(Happened(key="d", number=number))
        assert rung == []

    assert rung == ["outside", "probe"]


def test_a_failing_listener_harms_neither_the_publisher_nor_the_bells(rung: list[str]) -> None:
    def explode(**kwargs: object) -> None:
        raise RuntimeError("a careless listener")

    happened.connect(explode)
    try:
        with transaction.atomic():
            happened.publish(Happened(key="a", number=1))
    finally:
        happened.disconnect(explode)

    assert rung == ["outside", "probe"]


@pytest.mark.parametrize("extra_receivers", [0, 100])
def test_publishing_costs_two_statements_whatever_the_number_of_receivers(
    extra_receivers: int, rung: list[str]
) -> None:
    model = get_receiver("probe.record")
    names = [f"probe.extra_{number}" for number in range(extra_receivers)]
    for name in names:
        connect_receiver(_copy(model, name))
    try:
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            happened.publish(Happened(key="a", number=1))
    finally:
        for name in names:
            disconnect_receiver(name)

    assert len(queries) == 2
    assert Delivery.objects.count() == 4 + extra_receivers


def test_the_bells_of_all_queues_are_one_statement_whether_they_wait_already_or_not() -> None:
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            queue.ring("outside", "probe")

        assert len(queries) == 1
    assert queue.waiting_bells() == {"outside": 1, "probe": 1}


def test_after_the_commit_the_bells_of_all_queues_are_one_statement() -> None:
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        happened.publish(Happened(key="a", number=1))

    committed = [query["sql"] for query in queries].index("COMMIT")
    assert len(queries) - committed == 2
    assert queue.waiting_bells() == {"outside": 1, "probe": 1}


def test_ringing_nothing_asks_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    ring_now = mock.Mock()
    monkeypatch.setattr(queue, "_ring_now", ring_now)

    queue.ring()

    assert not ring_now.called


def test_events_of_one_request_share_its_correlation_id() -> None:
    with correlated("request-1"), transaction.atomic():
        first = happened.publish(Happened(key="a", number=1))
        second = happened.publish(Happened(key="a", number=2))

    assert first.correlation_id == second.correlation_id == "request-1"
    assert first.causation_id is None


def test_a_follow_on_event_names_its_cause_and_keeps_the_correlation(publish: Publish) -> None:
    with correlated("request-1"):
        cause = publish(1)

    with handling((cause,)), transaction.atomic():
        follow_on = happened.publish(Happened(key="a", number=2))

    assert follow_on.causation_id == cause.id
    assert follow_on.correlation_id == "request-1"


def test_a_batch_must_name_the_cause_of_what_it_publishes(publish: Publish) -> None:
    causes = (publish(1), publish(2))

    with handling(causes), transaction.atomic():
        with pytest.raises(UnnamedCause):
            happened.publish(Happened(key="a", number=3))
        named = happened.publish_many([Happened(key="a", number=4)], causes=[causes[1]])

    assert named[0].causation_id == causes[1].id


def test_without_a_request_one_correlation_id_is_made_and_kept() -> None:
    assert context.correlation_id() == context.correlation_id()


def test_an_event_type_cannot_be_declared_twice() -> None:
    with pytest.raises(ImproperlyConfigured, match="declared twice"):
        EventSignal("probe.happened", version=1, data=Happened, key="key")


def test_the_ordering_key_must_be_a_field_of_the_data() -> None:
    with pytest.raises(ImproperlyConfigured, match="'nobody'"):
        EventSignal("probe.keyless", version=1, data=Happened, key="nobody")


def test_an_event_reads_as_a_cloudevent(publish: Publish) -> None:
    event = publish(7)

    cloudevent = event.to_cloudevent(source="https://usher.test")

    assert cloudevent["specversion"] == "1.0"
    assert cloudevent["id"] == str(event.id)
    assert cloudevent["type"] == "probe.happened.v1"
    assert cloudevent["data"] == {"key": "someone", "number": 7}


def _copy(receiver: Receiver, name: str) -> Receiver:
    from dataclasses import replace

    return replace(receiver, name=name)
