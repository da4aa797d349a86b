"""Deliveries that are missing are added: once, and never for what was applied already."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.delivery.completion import add_missing_deliveries
from events.models import Delivery, DeliveryState, Event
from events.receivers import get_receiver
from tests.conftest import Drain, Publish
from tests.parallel import run_at_once
from tests.probe.observe import effects

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "probe.record"


def add(limit: int = 100, receiver: str = RECEIVER) -> int:
    """Add what is missing of all the probe's events."""
    events = Event.objects.filter(type="probe.happened")
    return add_missing_deliveries(get_receiver(receiver), events, limit=limit)


def forget() -> None:
    """Leave events as a process would that does not know the receiver."""
    Delivery.objects.filter(receiver=RECEIVER).delete()


def test_a_missing_delivery_is_added_out_of_order_and_due(publish: Publish, drain: Drain) -> None:
    event = publish(1)
    forget()

    added = add()

    delivery = Delivery.objects.get(receiver=RECEIVER)
    assert added == 1
    assert (delivery.event_id, delivery.position) == (event.id, None)
    assert (delivery.queue, delivery.type, delivery.version) == ("probe", "probe.happened", 1)
    drain()
    assert effects("record") == [1]


def test_what_has_a_delivery_gets_no_second_one(publish: Publish) -> None:
    publish(1)

    assert add() == 0
    assert Delivery.objects.filter(receiver=RECEIVER).count() == 1


def test_an_applied_event_whose_delivery_was_pruned_is_not_delivered_again(
    publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    forget()

    assert add() == 0
    assert not Delivery.objects.filter(receiver=RECEIVER).exists()


def test_at_most_the_limit_is_added_the_earliest_first(publish: Publish) -> None:
    published = [publish(number).id for number in range(3)]
    forget()

    assert add(limit=2) == 2
    added = Delivery.objects.filter(receiver=RECEIVER).values_list("event_id", flat=True)
    assert set(added) == set(published[:2])
    assert add(limit=2) == 1


def test_a_receiver_without_an_inbox_is_given_what_it_has_no_delivery_of(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.call_outside").delete()

    assert add(receiver="probe.call_outside") == 1


def test_two_at_once_insert_each_delivery_once(publish: Publish) -> None:
    for number in range(20):
        publish(number)
    forget()

    run_at_once([add, add])

    pending = Delivery.objects.filter(receiver=RECEIVER, state=DeliveryState.PENDING)
    assert pending.count() == 20


def test_the_number_of_queries_does_not_grow_with_the_events(publish: Publish) -> None:
    for number in range(30):
        publish(number)
    forget()

    with CaptureQueriesContext(connection) as queries:
        add()

    assert len([q for q in queries if q["sql"].startswith(("SELECT", "INSERT"))]) == 2
