"""What other systems answer has one effect, wherever the process that takes it dies.

The sender repeats what was not answered, a broker what was not acknowledged, the schedule what did
not time out yet: nothing is lost then, and nothing doubled.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook

from accounts.models import AccountStatus, User
from accounts.signals import (
    RiskCheckRequested,
    UserRegistered,
    risk_check_requested,
    risk_decided,
    user_registered,
)
from events.models import Delivery, DeliveryState, Event
from relay import consuming, risk_checks
from relay.consuming import Reading, Tally, consume
from relay.parked import ParkedMessage
from relay.risk import ReceivedMessage, RiskCheck, RiskCheckState
from relay.signals import risk_check_timed_out
from relay.source import Incoming
from tests.faults.any_receiver import recover
from tests.faults.crashpoints import CRASHPOINTS, VARIABLE, CrashPoint, Stage, points_of
from tests.faults.forks import crash
from tests.faults.proxy import link_to
from tests.faults.scenarios import breaches
from tests.faults.stimuli import drain_everything
from tests.processes import ROOT, environment, web_server
from tests.registrations import make_people
from tests.relay.test_consume import decision, structured
from tests.relay.test_consume_brokers import OutsideRabbitMQ
from tests.relay.test_risk_checks import SECRET, URL, decide
from tests.servers import rabbitmq
from tests.servers.client import new_server
from tests.servers.process import HOST

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

UNPUBLISHED = [CRASHPOINTS["event.inserted"], CRASHPOINTS["deliveries.inserted"]]
PUBLISHED = [
    CRASHPOINTS["registration.committed"],
    CRASHPOINTS["bell.before"],
    CRASHPOINTS["bell.enqueued"],
]
BY_POST = [*points_of(Stage.ANSWER), *UNPUBLISHED, *PUBLISHED, *points_of(Stage.POST)]
FROM_RABBITMQ = [CRASHPOINTS["message.committed"], CRASHPOINTS["message.acknowledged"]]
FROM_A_BROKER = [
    *points_of(Stage.ANSWER),
    *UNPUBLISHED,
    CRASHPOINTS["registration.committed"],
    *(p for p in points_of(Stage.CONSUME) if p.name != "message.acknowledged"),
]
TIMING_OUT = [*points_of(Stage.TIME_OUT), *UNPUBLISHED, *PUBLISHED]
TRIED = {*BY_POST, *FROM_A_BROKER, *FROM_RABBITMQ, *points_of(Stage.PARK), *TIMING_OUT}
COMMITTED = {*(p.name for p in PUBLISHED), "answer.committed", "time-out.committed"}


def each_of(points: Sequence[CrashPoint]) -> pytest.MarkDecorator:
    """Run a test for each point."""
    return pytest.mark.parametrize("point", points, ids=lambda point: point.name)


@pytest.fixture
def _secret(settings: Settings) -> None:
    settings.RISK_DECISION_SECRETS = [SECRET]


@pytest.fixture
def people() -> list[User]:
    """Return two people about whom somebody was asked."""
    registered = make_people(2)
    with transaction.atomic():
        user_registered.publish_many(
            [UserRegistered(user_id=person.pk, inviter_id=None) for person in registered]
        )
        risk_check_requested.publish_many(
            [RiskCheckRequested(user_id=person.pk, signals=["burst"]) for person in registered]
        )
    drain_everything()
    return registered


class Spool:
    """A source whose messages are files, so that they outlive who reads them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._taken: set[Path] = set()

    def put(self, *events: Any) -> None:
        """Put messages in: events, or bytes that are none."""
        for event in events:
            body = event if isinstance(event, bytes) else json.dumps(event).encode()
            (self._directory / f"{len(self.left_over()):03}").write_bytes(body)

    def left_over(self) -> list[Path]:
        """Return the messages that are not acknowledged."""
        return sorted(self._directory.iterdir())

    def __enter__(self) -> "Spool":
        self._taken = set()
        return self

    def __exit__(self, *error: object) -> None:
        return

    def take(self) -> Sequence[Incoming]:
        """Return the next message."""
        for path in self.left_over():
            if path not in self._taken:
                self._taken.add(path)
                return [self._incoming(path)]
        return []

    def left(self) -> int:
        """Return how many are held back."""
        return 0

    def acknowledge(self, incoming: Sequence[Incoming]) -> None:
        """Delete messages."""
        for each in incoming:
            each.tag.unlink()

    def _incoming(self, path: Path) -> Incoming:
        return replace(structured(path.read_bytes()), tag=path)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Return the source that `consume` reads, whatever the URL."""
    spool = Spool(tmp_path)
    with mock.patch.object(consuming, "source_of", return_value=lambda: spool):
        yield spool


def read_all() -> Tally:
    """Consume until nothing is left."""
    return consume(Reading(url="amqp://b.example?queue=q", stop=threading.Event(), idle_s=0))


def decided() -> list[str]:
    """Return what was published, in order."""
    rows = Event.objects.filter(type=risk_decided.type).order_by("position")
    return list(rows.values_list("data__decision", flat=True))


def check_one_effect(person: User, *decisions: str) -> None:
    """Check that each decision about a person has had its effect once, and nothing is left."""
    recover()
    check = RiskCheck.objects.get(user=person)
    person.refresh_from_db()
    assert decided() == list(decisions)
    assert ReceivedMessage.objects.count() == len(decisions)
    assert (check.state, check.decision) == (RiskCheckState.ANSWERED, decisions[0])
    assert (person.status == AccountStatus.FLAGGED) == (decisions[-1] == "flag")
    check_rest()


def check_rest() -> None:
    """Check that nothing is owed, and that nothing is broken."""
    assert {each.state for each in Delivery.objects.all()} == {DeliveryState.DONE}
    assert breaches("--at-rest") == []


@pytest.mark.usefixtures("_secret")
@each_of(BY_POST)
def test_a_post_that_is_repeated_after_a_death_has_one_effect(
    people: list[User], point: CrashPoint
) -> None:
    crash(partial(decide, Client(), people[0]), point)
    stored = decided()

    answer = decide(Client(), people[0])

    assert stored == (["flag"] if point.name in COMMITTED else [])
    assert (answer.status_code, answer.json()) == (202, {"id": "msg_1"})
    check_one_effect(people[0], "flag")


@each_of(FROM_A_BROKER)
def test_a_message_that_comes_again_after_a_death_has_one_effect(
    people: list[User], spool: Spool, point: CrashPoint
) -> None:
    flag = decision(people[0])
    clear = decision(people[0], id="msg_2", data={**flag["data"], "decision": "clear"})
    spool.put(flag, clear)
    crash(read_all, point, passage=2)
    assert len(spool.left_over()) == 1

    read_all()

    assert spool.left_over() == []
    assert not ParkedMessage.objects.exists()
    check_one_effect(people[0], "flag", "clear")


@each_of(points_of(Stage.PARK))
def test_a_message_that_nobody_can_take_is_parked_once_and_holds_nobody_up(
    people: list[User], spool: Spool, point: CrashPoint
) -> None:
    spool.put(b"nonsense", decision(people[0]))
    crash(read_all, point)
    assert len(spool.left_over()) == 2

    read_all()

    assert spool.left_over() == []
    assert bytes(ParkedMessage.objects.get().body) == b"nonsense"
    check_one_effect(people[0], "flag")


@each_of(TIMING_OUT)
def test_a_check_times_out_once_though_who_does_it_dies(
    people: list[User], point: CrashPoint
) -> None:
    RiskCheck.objects.update(deadline_at=Now())
    with mock.patch.object(risk_checks, "BATCH", 1):
        crash(risk_checks.time_out_checks, point)

    timed_out = risk_checks.time_out_checks()

    events = Event.objects.filter(type=risk_check_timed_out.type)
    assert timed_out == len(people) - (point.name in COMMITTED)
    assert sorted(event.key for event in events) == sorted(str(person.pk) for person in people)
    assert {check.state for check in RiskCheck.objects.all()} == {RiskCheckState.TIMED_OUT}
    recover()
    check_rest()


def post(address: str, person: User) -> int | None:
    """Send a decision to a web server. Return the answer's status; None: there was no answer."""
    body = json.dumps(decision(person)["data"])
    now = datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, body),
    }
    connection = HTTPConnection(address.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", URL, body, headers)
        return connection.getresponse().status
    except (RemoteDisconnected, ConnectionResetError):
        return None
    finally:
        connection.close()


@pytest.mark.database("postgres")  # the kinds of death are the same on both
def test_a_post_to_a_web_server_that_dies_before_its_answer_has_one_effect(
    people: list[User],
) -> None:
    known = {"RISK_DECISION_SECRETS": SECRET}
    with web_server(**known, **{VARIABLE: "answer.committed"}) as address:
        died = post(address, people[0])

    with web_server(**known) as address:
        answered = post(address, people[0])

    assert (died, answered) == (None, 202)
    check_one_effect(people[0], "flag")


@contextmanager
def queue_of_rabbitmq() -> Iterator[OutsideRabbitMQ]:
    """Run a RabbitMQ with a queue."""
    server, discard = new_server("rabbitmq")
    try:
        with link_to(HOST, server.port) as link:
            yield OutsideRabbitMQ(server, link)
    finally:
        discard()


def consumed(url: str, **overrides: str) -> int:
    """Run `manage.py consume` until nothing comes. Return its exit code, -9 where it was killed."""
    command = [sys.executable, "manage.py", "consume", url, "--until-idle", "2"]
    return subprocess.run(
        command, cwd=ROOT, env=environment(**overrides), check=False, timeout=120
    ).returncode


@pytest.mark.database("sqlite")  # it is about the broker
@pytest.mark.skipif(not rabbitmq.PROGRAM.exists(), reason=rabbitmq.MISSING)
@each_of(FROM_RABBITMQ)
def test_what_rabbitmq_hands_out_again_after_a_death_has_one_effect(
    people: list[User], point: CrashPoint
) -> None:
    with queue_of_rabbitmq() as outside:
        for number, said in enumerate(["flag", "clear"]):
            event = decision(people[0], id=f"msg_{number}")
            event["data"]["decision"] = said
            outside.send(json.dumps(event).encode())

        codes = [consumed(outside.url, **{VARIABLE: point.name}), consumed(outside.url)]

    assert codes == [-signal.SIGKILL, 0]
    assert not ParkedMessage.objects.exists()
    check_one_effect(people[0], "flag", "clear")
