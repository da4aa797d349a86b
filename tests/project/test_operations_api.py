"""Staff look at events, deliveries and receivers over the API, and intervene: on record."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from events.models import Attempt, Delivery, DeliveryState, Event, ReceiverState
from events.receivers import all_receivers
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

API = "/api/v1/"
RECORD = "probe.record"
EVERYTHING = ["view_event", "view_delivery", "replay_delivery", "skip_delivery"]
EVERYTHING += ["view_receiverstate", "pause_receiver"]


def client_with(*rights: str) -> APIClient:
    """Return a client of somebody with some permissions on events."""
    user = User.objects.create_user(f"clerk{User.objects.count()}@example.com", "irrelevant")
    chosen = Permission.objects.filter(codename__in=rights, content_type__app_label="events")
    user.user_permissions.set(chosen)
    client = APIClient()
    client.force_authenticate(user)
    return client


def clerk() -> User:
    """Return whoever has the first client."""
    return User.objects.get(email="clerk0@example.com")


@pytest.fixture
def staff() -> APIClient:
    """Return a client that may do everything here."""
    return client_with(*EVERYTHING)


@pytest.fixture
def dead(publish: Publish, drain: Drain, misbehave: Misbehave) -> Delivery:
    """Return a dead delivery; the fault that killed it is gone."""
    fault = misbehave(1, "permanent")
    publish(1)
    drain()
    fault.delete()
    return Delivery.objects.get(receiver=RECORD)


def results(answer: Any) -> list[dict[str, Any]]:
    """Return the rows of a list."""
    assert answer.status_code == 200, answer.content
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def post(client: APIClient, path: str, body: dict[str, Any] | None = None, key: str = "") -> Any:
    """Make a call that changes something."""
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"{API}{path}", body, headers=headers)


# --- Events ---------------------------------------------------------------------------------------


def test_events_are_listed_newest_first_with_what_they_say(
    staff: APIClient, publish: Publish
) -> None:
    first, second = publish(1, key="a"), publish(2, key="b")

    rows = results(staff.get(f"{API}events/"))

    assert [row["id"] for row in rows] == [str(second.id), str(first.id)]
    assert rows[1] == staff.get(f"{API}events/{first.id}/").json()
    assert rows[1]["data"] == {"key": "a", "number": 1}
    assert (rows[1]["type"], rows[1]["version"], rows[1]["key"]) == ("probe.happened", 1, "a")
    assert rows[1]["causation_id"] is None


def test_events_are_narrowed_by_type_key_and_correlation(
    staff: APIClient, publish: Publish, drain: Drain
) -> None:
    event = publish(1, key="a")
    publish(2, key="b")
    drain()

    by_type = results(staff.get(f"{API}events/?type=probe.followed&key=a"))
    by_request = results(staff.get(f"{API}events/?correlation_id={event.correlation_id}"))

    assert [row["causation_id"] for row in by_type] == [str(event.id)]
    assert {row["correlation_id"] for row in by_request} == {event.correlation_id}
    assert results(staff.get(f"{API}events/?type=&key=b&page_size=200"))


def test_an_event_that_is_not_there_is_not_found(staff: APIClient) -> None:
    assert staff.get(f"{API}events/{uuid4()}/").status_code == 404


# --- Deliveries -----------------------------------------------------------------------------------


def test_deliveries_are_narrowed_by_state_receiver_and_event(
    staff: APIClient, dead: Delivery, publish: Publish
) -> None:
    later = publish(2)

    found = results(staff.get(f"{API}deliveries/?state=dead&receiver={RECORD}"))
    of_event = results(staff.get(f"{API}deliveries/?event={later.id}&state="))

    assert [(row["id"], row["state"]) for row in found] == [(str(dead.pk), "dead")]
    assert found[0]["last_error"].endswith("never")
    assert {row["receiver"] for row in of_event} == {
        "probe.record",
        "probe.record_batch",
        "probe.call_outside",
        "probe.call_once",
    }


@pytest.mark.parametrize("state", DeliveryState.values)
def test_each_state_finds_those_in_it(
    state: str, staff: APIClient, dead: Delivery, publish: Publish
) -> None:
    publish(2)

    found = results(staff.get(f"{API}deliveries/?state={state}&page_size=200"))

    expected = Delivery.objects.filter(state=state).values_list("pk", flat=True)
    assert {row["id"] for row in found} == {str(pk) for pk in expected}


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("state=lost", "/state", "invalid_choice"),
        ("receiver=probe.recrod", "/receiver", "unknown_receiver"),
        ("receiver=" + "x" * 101, "/receiver", "max_length"),
        ("event=7", "/event", "invalid"),
    ],
)
def test_a_filter_that_can_not_be_is_refused(
    query: str, pointer: str, code: str, staff: APIClient
) -> None:
    answer = staff.get(f"{API}deliveries/?{query}")

    assert answer.status_code == 400
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]


def test_one_delivery_tells_how_it_failed(staff: APIClient, dead: Delivery) -> None:
    body = staff.get(f"{API}deliveries/{dead.pk}/").json()

    [failure] = body["failures"]
    assert (body["state"], body["event"]) == ("dead", str(dead.event_id))
    assert failure["number"] == 1
    assert failure["error_message"] == Attempt.objects.get(delivery=dead).error_message


@pytest.mark.parametrize("place", ["0", "7x", "1_0", "-1", "9" * 18, "9" * 40])
def test_a_delivery_that_is_not_there_is_not_found(place: str, staff: APIClient) -> None:
    assert staff.get(f"{API}deliveries/{place}/").status_code == 404
    assert post(staff, f"deliveries/{place}/replay/").status_code == 404
    assert post(staff, f"deliveries/{place}/skip/", {"reason": "x"}).status_code == 404


def test_a_dead_delivery_is_replayed_and_arrives(
    staff: APIClient, dead: Delivery, drain: Drain
) -> None:
    answer = post(staff, f"deliveries/{dead.pk}/replay/", {"reason": "mended"})
    drain()

    assert answer.status_code == 202, answer.content
    assert (answer.json()["state"], answer.json()["attempts"]) == ("pending", 0)
    assert staff.get(f"{API}deliveries/{dead.pk}/").json()["state"] == "done"


def test_a_replay_is_on_record_with_or_without_a_reason(staff: APIClient, dead: Delivery) -> None:
    post(staff, f"deliveries/{dead.pk}/replay/", {"reason": "mended"})
    post(staff, f"deliveries/{dead.pk}/replay/")

    entries = LogEntry.objects.filter(object_id=str(dead.pk)).order_by("pk")
    assert [entry.get_change_message() for entry in entries] == ["Replayed: mended", "Replayed"]
    assert all(entry.user == clerk() for entry in entries)


def test_a_delivery_is_skipped_by_a_named_operator(staff: APIClient, dead: Delivery) -> None:
    answer = post(staff, f"deliveries/{dead.pk}/skip/", {"reason": " a test account "})

    body = answer.json()
    assert answer.status_code == 200, body
    assert (body["state"], body["skip_reason"]) == ("skipped", "a test account")
    assert body["skipped_by"] == clerk().email
    assert LogEntry.objects.get().get_change_message() == "Skipped: a test account"


def test_what_waited_behind_a_skipped_one_goes_on(
    staff: APIClient, dead: Delivery, publish: Publish, drain: Drain
) -> None:
    publish(2)
    drain()
    behind = Delivery.objects.get(receiver=RECORD, state=DeliveryState.WAITING)

    post(staff, f"deliveries/{dead.pk}/skip/", {"reason": "a test account"})
    drain()

    behind.refresh_from_db()
    assert behind.state == DeliveryState.DONE


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 201}])
def test_nothing_is_skipped_without_a_reason(
    body: dict[str, str], staff: APIClient, dead: Delivery
) -> None:
    answer = post(staff, f"deliveries/{dead.pk}/skip/", body)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/reason"
    dead.refresh_from_db()
    assert dead.state == DeliveryState.DEAD


def test_what_is_finished_is_not_skipped(staff: APIClient, publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()
    done = Delivery.objects.get(receiver=RECORD)

    answer = post(staff, f"deliveries/{done.pk}/skip/", {"reason": "x"})

    assert (answer.status_code, answer.json()["code"]) == (409, "not_skippable")
    assert "done" in answer.json()["detail"]
    assert not LogEntry.objects.exists()


def test_what_waits_is_not_replayed(
    staff: APIClient, dead: Delivery, publish: Publish, drain: Drain
) -> None:
    publish(2)
    drain()
    waiting = Delivery.objects.get(receiver=RECORD, state=DeliveryState.WAITING)

    answer = post(staff, f"deliveries/{waiting.pk}/replay/")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_replayable")
    assert not LogEntry.objects.exists()


def test_a_repeated_request_has_one_effect(staff: APIClient, dead: Delivery) -> None:
    path, body = f"deliveries/{dead.pk}/skip/", {"reason": "a test account"}

    first, again = (post(staff, path, body, key="k1") for _ in range(2))
    other = post(staff, path, {"reason": "another"}, key="k1")

    assert (first.status_code, again.json()) == (200, first.json())
    assert again["Idempotent-Replayed"] == "true"
    assert other.status_code == 422
    assert LogEntry.objects.count() == 1


# --- Receivers ------------------------------------------------------------------------------------


def test_every_receiver_is_listed_with_its_backlog(
    staff: APIClient, dead: Delivery, publish: Publish
) -> None:
    publish(3, key="other")

    rows = {row["name"]: row for row in results(staff.get(f"{API}receivers/"))}

    assert list(rows) == [receiver.name for receiver in all_receivers()]
    record = rows[RECORD]
    assert (record["due"], record["dead"], record["paused"]) == (1, 1, False)
    assert record["types"] == ["probe.happened"]
    assert (record["queue"], record["guarantee"]) == ("probe", "exactly_once")
    assert record["oldest_due_age_s"] >= 0


def test_the_list_of_receivers_takes_as_many_statements_for_a_long_backlog(
    staff: APIClient, publish: Publish
) -> None:
    def statements() -> int:
        staff.force_authenticate(User.objects.get(pk=clerk().pk))
        with CaptureQueriesContext(connection) as captured:
            staff.get(f"{API}receivers/")
        return len(captured)

    publish(1)
    few = statements()
    for number in range(50):
        publish(number, key=str(number))

    assert statements() == few < 12


def test_a_receiver_is_paused_and_resumed_on_record(staff: APIClient, publish: Publish) -> None:
    paused = post(staff, f"receivers/{RECORD}/pause/", {"reason": "a fault"})
    publish(1)
    shown = {row["name"]: row for row in results(staff.get(f"{API}receivers/"))}[RECORD]
    resumed = post(staff, f"receivers/{RECORD}/resume/", {"reason": "mended"})

    body = paused.json()
    assert (body["paused"], body["pause_reason"]) == (True, "a fault")
    assert body["paused_by"] == clerk().email
    assert (shown["paused"], shown["due"], shown["scheduled"]) == (True, 0, 1)
    assert (resumed.status_code, resumed.json()["paused"]) == (200, False)
    messages = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert messages == ["Paused: a fault", "Resumed: mended"]


def test_whoever_paused_a_receiver_first_stays_named(staff: APIClient) -> None:
    post(staff, f"receivers/{RECORD}/pause/", {"reason": "a fault"})

    again = post(client_with("pause_receiver"), f"receivers/{RECORD}/pause/", {"reason": "mine"})

    assert (again.status_code, again.json()["pause_reason"]) == (200, "a fault")
    assert LogEntry.objects.count() == 1


def test_to_resume_what_runs_changes_nothing(staff: APIClient) -> None:
    answer = post(staff, f"receivers/{RECORD}/resume/")

    assert (answer.status_code, answer.json()["paused"]) == (200, False)
    assert not LogEntry.objects.exists()


def test_a_receiver_nobody_knows_is_not_found(staff: APIClient) -> None:
    assert post(staff, "receivers/no.such/pause/", {"reason": "x"}).status_code == 404
    assert post(staff, "receivers/no.such/resume/").status_code == 404
    assert not ReceiverState.objects.exists()


# --- Who may --------------------------------------------------------------------------------------

CALLS = [
    ("get", "events/", "view_event"),
    ("get", "events/{event}/", "view_event"),
    ("get", "deliveries/", "view_delivery"),
    ("get", "deliveries/{delivery}/", "view_delivery"),
    ("post", "deliveries/{delivery}/replay/", "replay_delivery"),
    ("post", "deliveries/{delivery}/skip/", "skip_delivery"),
    ("get", "receivers/", "view_receiverstate"),
    ("post", "receivers/probe.record/pause/", "pause_receiver"),
    ("post", "receivers/probe.record/resume/", "pause_receiver"),
]


@pytest.mark.parametrize(("method", "path", "right"), CALLS)
def test_each_call_needs_its_permission_and_no_other(
    method: str, path: str, right: str, publish: Publish
) -> None:
    event = publish(1)
    delivery = Delivery.objects.get(receiver=RECORD)
    place = API + path.format(event=event.id, delivery=delivery.pk)
    body = {"reason": "x"} if method == "post" else None

    refused = getattr(client_with(*set(EVERYTHING) - {right}), method)(place, body)
    allowed = getattr(client_with(right), method)(place, body)

    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert allowed.status_code < 300, allowed.content
    assert Event.objects.filter(event_id=event.id).exists()
