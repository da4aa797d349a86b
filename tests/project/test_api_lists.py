"""No list of the API asks the database more often because it has more rows."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from coupons.models import Campaign
from events.models import Attempt, Delivery, Event
from points.models import PointsAccount
from relay.endpoints import Endpoint
from relay.services import SEND_RECEIVER
from tests.api_calls import api_calls
from tests.coupons.factories import make_campaign, make_coupon
from tests.points.factories import make_account, make_decision, make_entry, make_rule
from tests.registrations import make_people, refer

pytestmark = pytest.mark.django_db

FEW, MANY = 1, 50
MOMENT = timezone.now()


def add_coupons(owner: User, number: int) -> str:
    """Give somebody coupons, each of a campaign of its own."""
    for _ in range(number):
        make_coupon(make_campaign(name=f"Number {Campaign.objects.count()}"), owner)
    return ""


def add_entries(owner: User, number: int) -> str:
    """Write entries in somebody's account."""
    account = PointsAccount.objects.filter(user=owner).first() or make_account(owner)
    for _ in range(number):
        make_entry(account)
    return ""


def add_referrals(owner: User, number: int) -> str:
    """Let somebody have invited people, with a reward for each."""
    make_rule(version=number)
    for invitee in make_people(number):
        refer(invitee, owner)
        make_decision(owner, invitee)
    return ""


def add_endpoints(owner: User, number: int) -> str:
    """Add endpoints."""
    Endpoint.objects.bulk_create(new_endpoint(f"{number}-{each}") for each in range(number))
    return ""


def add_attempts(owner: User, number: int) -> str:
    """Let as many deliveries to the same endpoint have failed; return its id."""
    endpoint = Endpoint.objects.first() or new_endpoint("CRM")
    endpoint.save()
    for each in range(number):
        Attempt.objects.create(
            delivery=new_delivery(endpoint, key=f"{number}-{each}"),
            number=1,
            started_at=MOMENT,
            ended_at=MOMENT + timedelta(seconds=1),
            error_class="OSError",
            fingerprint="0",
        )
    return str(endpoint.pk)


def add_events(owner: User, number: int) -> str:
    """Let something have happened."""
    Event.objects.bulk_create(
        Event(type="accounts.user_registered", version=1, key=str(each), data={})
        for each in range(number)
    )
    return ""


def add_deliveries(owner: User, number: int) -> str:
    """Let receivers be owed events."""
    for each in range(number):
        new_delivery(new_endpoint("CRM"), key=f"{number}-{each}")
    return ""


def new_endpoint(name: str) -> Endpoint:
    """Return an endpoint that is not saved yet."""
    return Endpoint(name=name, url="https://crm.example/hooks", owner_email="owner@example.com")


def new_delivery(endpoint: Endpoint, key: str) -> Delivery:
    """Return a delivery to an endpoint, of an event of its own."""
    event = Event.objects.create(type="accounts.user_registered", version=1, key=key, data={})
    return Delivery.objects.create(
        event=event,
        type=event.type,
        key=key,
        receiver=SEND_RECEIVER,
        target=str(endpoint.pk),
        queue="relay",
        state="dead",
        position=event.position,
        version=1,
        due_at=None,
    )


# What adds rows that each list shows to its caller, and returns what stands in its address.
LISTS: dict[str, Callable[[User, int], str]] = {
    "api-my-coupons": add_coupons,
    "api-my-points-entries": add_entries,
    "api-referrals": add_referrals,
    "api-endpoints": add_endpoints,
    "api-endpoint-attempts": add_attempts,
    "api-events": add_events,
    "api-deliveries": add_deliveries,
}
ONE_THING = {
    "api-me",
    "api-name",
    "api-terms",
    "api-my-terms",
    "api-export",  # everything there is of one person, at once
    "api-user",
    "api-my-points",
    "api-checkout",
    "api-endpoint",
    "api-event",
    "api-delivery",
    "api-receivers",  # as many as are declared: see test_operations_api.py
}
GETS = {call.name: call for call in api_calls() if call.method == "get"}


def test_every_address_that_can_be_read_is_a_list_here_or_one_thing() -> None:
    lists = {name for name, call in GETS.items() if call.is_list}

    assert lists == set(LISTS)
    assert set(GETS) == set(LISTS) | ONE_THING


@pytest.mark.parametrize("name", LISTS)
def test_a_long_list_takes_as_many_statements_as_a_short_one(
    name: str, api_client: APIClient
) -> None:
    owner = User.objects.create_superuser("owner@example.com", "irrelevant")
    place = LISTS[name](owner, FEW)
    few = statements(api_client, owner, GETS[name].path(place), FEW)

    LISTS[name](owner, MANY - FEW)

    assert statements(api_client, owner, GETS[name].path(place), MANY) == few


def statements(client: APIClient, owner: User, path: str, rows: int) -> list[str]:
    """Return the tables' statements that a list takes; check how many rows it shows."""
    client.force_authenticate(User.objects.get(pk=owner.pk))  # with nothing cached
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path)
    assert len(answer.json()["results"]) == rows, answer.content
    return [query["sql"].partition("WHERE")[0] for query in captured.captured_queries]
