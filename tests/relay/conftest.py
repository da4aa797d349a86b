"""Fixtures of the relay's tests."""

import json
from collections.abc import Callable, Iterator

import pytest
from django.db import transaction
from pytest_django import Settings

from accounts.models import User
from accounts.signals import UserRegistered, user_registered
from events.envelope import Event
from relay import services
from relay.endpoints import Endpoint
from tests.registrations import make_person
from tests.relay.partner import Partner, running

# More than a header of HTTP can hold, and how one holds it.
CORRELATION_ID = 'run 7 "größer" 50 %'
PERCENT_ENCODED = "run%207%20%22gr%C3%B6%C3%9Fer%22%2050%20%25"

Register = Callable[..., Event[UserRegistered]]
Subscribe = Callable[..., Endpoint]


def attributes_in(body: bytes, prefix: str) -> dict[str, str]:
    """Return the attributes of an event in structured JSON, as headers of binary mode have them."""
    beside = {"data", "datacontenttype"}
    return {prefix + name: text for name, text in json.loads(body).items() if name not in beside}


@pytest.fixture
def _at_home(settings: Settings) -> None:
    """Let endpoints be on this machine, unencrypted."""
    settings.RELAY_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.RELAY_ALLOW_HTTP = True


@pytest.fixture
def partner(_at_home: None) -> Iterator[Partner]:
    """Run another system."""
    with running() as partner:
        yield partner


@pytest.fixture
def second_partner(_at_home: None) -> Iterator[Partner]:
    """Run one more."""
    with running() as partner:
        yield partner


@pytest.fixture
def subscribe(_at_home: None) -> Subscribe:
    """Return a function that makes an endpoint for registrations."""

    def run(url: str, name: str = "CRM", **options: object) -> Endpoint:
        types = options.pop("event_types", ["accounts.user_registered"])
        return services.create_endpoint(
            name=name,
            url=url,
            event_types=types,  # type: ignore[arg-type]
            owner_email="owner@example.com",
            **options,
        ).endpoint

    return run


@pytest.fixture
def register() -> Register:
    """Return a function that publishes that somebody registered, without more ado."""

    def run(person: User | None = None) -> Event[UserRegistered]:
        user = person or make_person()
        with transaction.atomic():
            return user_registered.publish(UserRegistered(user_id=user.pk, inviter_id=None))

    return run
