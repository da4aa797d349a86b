"""Events outlive the code that published them: old versions are lifted, unknown ones wait."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from events.delivery.claimable import has_due_deliveries
from events.models import Delivery, Event
from events.signals import UnreadableVersion
from tests.conftest import Drain, Publish
from tests.probe.models import Effect
from tests.probe.observe import effects
from tests.probe.signals import happened

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HappenedLater:
    """The third version of the probe's event: `number` is called `amount`, then is doubled."""

    key: str
    number: int
    place: str


@pytest.fixture
def third_version(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Declare version 3 of the probe's event, without functions that lift older ones."""
    monkeypatch.setattr(happened, "version", 3)
    monkeypatch.setattr(happened, "data_class", HappenedLater)
    monkeypatch.setattr(happened, "lifts", {})
    return happened


def add_place(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "place": "somewhere"}


def double(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "number": 2 * data["number"]}


def test_an_old_event_is_lifted_step_by_step_when_it_is_read(
    publish: Publish, third_version: Any
) -> None:
    recorded = record_as(version=1, data={"key": "a", "number": 4})
    third_version.upcast(from_version=1)(double)
    third_version.upcast(from_version=2)(add_place)

    event = third_version.read(recorded)

    assert event.data == HappenedLater(key="a", number=8, place="somewhere")
    assert event.version == 3
    assert recorded.data == {"key": "a", "number": 4}


def test_a_receiver_gets_an_old_event_in_the_declared_version(
    publish: Publish, drain: Drain, request: pytest.FixtureRequest
) -> None:
    publish(4)
    signal = request.getfixturevalue("third_version")
    signal.upcast(from_version=1)(double)
    signal.upcast(from_version=2)(add_place)

    drain()

    assert effects("record") == [8]
    assert set(Delivery.objects.values_list("version", flat=True)) == {1}


def test_what_no_function_lifts_waits_for_the_code_that_can(
    publish: Publish, drain: Drain, request: pytest.FixtureRequest
) -> None:
    publish(4)
    signal = request.getfixturevalue("third_version")
    signal.upcast(from_version=2)(add_place)

    drain()
    rings = has_due_deliveries("probe")
    signal.upcast(from_version=1)(double)
    waited = not Effect.objects.exists()
    drain()

    assert waited
    assert not rings
    assert effects("record") == [8]


def test_a_version_of_a_newer_release_waits_for_it_and_is_not_charged(
    publish: Publish, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer_release:
        newer_release.setattr(happened, "version", 2)
        publish(1)
    drain()
    parked = set(Delivery.objects.values_list("state", "attempts"))

    monkeypatch.setattr(happened, "version", 2)
    drain()

    assert parked == {("pending", 0)}
    assert effects("record") == [1]


def test_a_newer_version_waits_beside_others_of_the_same_receiver(
    publish: Publish, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer_release:
        newer_release.setattr(happened, "version", 2)
        publish(1, key="newer")
    publish(2, key="older")
    drain()
    meanwhile = effects("record")

    monkeypatch.setattr(happened, "version", 2)
    drain()

    assert meanwhile == [2]
    assert effects("record") == [2, 1]


def test_reading_a_version_nobody_can_read_says_what_to_do(publish: Publish) -> None:
    publish(1)
    newer = record_as(version=7, data={})

    with pytest.raises(UnreadableVersion, match="version 7 of probe"):
        happened.read(newer)


@pytest.mark.parametrize("version", [0, 3, 4])
def test_only_earlier_versions_can_be_lifted(version: int, third_version: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="no function can lift"):
        third_version.upcast(from_version=version)(add_place)


def test_a_version_is_lifted_in_one_way_only(third_version: Any) -> None:
    third_version.upcast(from_version=2)(add_place)

    with pytest.raises(ImproperlyConfigured, match="no function can lift"):
        third_version.upcast(from_version=2)(double)


def record_as(version: int, data: dict[str, Any]) -> Event:
    """Return an event as another release recorded it."""
    return Event.objects.create(
        type=happened.type, version=version, key="a", data=data, correlation_id="test"
    )
