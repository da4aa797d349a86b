"""`manage.py consume` brings events of other systems in, each once, and none is lost or in the way.

Here a source in memory stands for a broker; test_consume_brokers.py has real ones.
"""

import io
import json
import threading
from collections.abc import Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import urlsplit

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client

from accounts.models import User
from accounts.signals import risk_decided
from events.models import Event
from relay import consuming, decisions, intake, risk_checks
from relay.consuming import Reading, Tally, consume, take_again
from relay.parked import ParkedMessage
from relay.risk import ReceivedMessage
from relay.source import Incoming, SourceLost, source_of
from relay.sources import amqp, kafka
from tests.registrations import make_person

pytestmark = pytest.mark.django_db(transaction=True)

TYPE = "usher.risk_decision.v1"


class MemorySource:
    """A queue in memory: what is not acknowledged comes again to who connects next."""

    def __init__(self, *incoming: Incoming) -> None:
        self.queue = list(incoming)
        self.losses = 0  # acknowledgements that the connection does not live to see
        self.connected = 0
        self.hidden = 0  # messages that are there, but not handed out yet

    def __enter__(self) -> "MemorySource":
        self.connected += 1
        self._next = 0
        return self

    def __exit__(self, *error: object) -> None:
        return

    def take(self) -> Sequence[Incoming]:
        """Return the next message."""
        taken = self.queue[self._next : self._next + 1]
        self._next += len(taken)
        return taken

    def left(self) -> int:
        """Return how many are not handed out yet."""
        return self.hidden

    def acknowledge(self, incoming: Sequence[Incoming]) -> None:
        """Forget messages."""
        if self.losses:
            self.losses -= 1
            raise SourceLost("reset")
        for each in incoming:
            self.queue.remove(each)
            self._next -= 1


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consuming, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def person() -> User:
    """Return somebody who is judged."""
    return make_person()


def decision(person: User | str, **changed: Any) -> dict[str, Any]:
    """Return an event with a decision."""
    data = {"user": str(getattr(person, "pk", person)), "decision": "flag", "reason": "proxy"}
    return {
        "specversion": "1.0",
        "id": "msg_1",
        "source": "https://risk.example",
        "type": TYPE,
        "data": data,
        **changed,
    }


def structured(event: Any, content_type: str = "application/cloudevents+json") -> Incoming:
    """Return an event as it comes in, in structured mode."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return Incoming(place="risk", content_type=content_type, attributes={}, body=body, tag=1)


def binary(event: dict[str, Any], **changed: Any) -> Incoming:
    """Return an event as it comes in, in binary mode."""
    attributes = {name: text for name, text in event.items() if name != "data"}
    body = json.dumps(event["data"]).encode()
    given = {"content_type": "application/json", "attributes": attributes, "body": body, **changed}
    return Incoming(place="risk", tag=1, **given)


def run(monkeypatch: pytest.MonkeyPatch, source: Any, **how: Any) -> Tally:
    """Consume until nothing is left."""
    monkeypatch.setattr(consuming, "source_of", lambda url: lambda: source)
    return consume(
        Reading(url="amqp://u:safe@b.example?queue=q", stop=threading.Event(), idle_s=0, **how)
    )


def decisions_published() -> list[Any]:
    """Return the data of what was published."""
    return list(Event.objects.filter(type=risk_decided.type).values_list("data", flat=True))


@pytest.mark.parametrize("mode", [structured, binary])
def test_a_decision_is_published_and_acknowledged(
    monkeypatch: pytest.MonkeyPatch, person: User, mode: Any
) -> None:
    source = MemorySource(mode(decision(person)))

    tally = run(monkeypatch, source)

    assert tally == Tally(applied=1)
    assert decisions_published() == [
        {"user_id": str(person.pk), "decision": "flag", "reason": "proxy"}
    ]
    assert source.queue == []


def test_what_came_by_post_before_has_no_second_effect(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    decisions.receive(message_id="msg_1", data=decision(person)["data"])

    tally = run(monkeypatch, MemorySource(structured(decision(person))))

    assert tally == Tally(repeated=1)
    assert len(decisions_published()) == 1


def test_a_connection_that_breaks_before_the_acknowledgement_repeats_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    source = MemorySource(structured(decision(person)))
    source.losses = 1

    tally = run(monkeypatch, source)

    assert tally == Tally(applied=1, repeated=1)
    assert (len(decisions_published()), source.queue, source.connected) == (1, [], 2)


def test_a_database_that_is_away_parks_nothing(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    answers = iter([OperationalError("the server closed the connection unexpectedly")] * 1)
    receive = risk_checks.receive_decision

    def fail_once(**given: Any) -> bool:
        for error in answers:
            raise error
        return receive(**given)

    monkeypatch.setattr(consuming, "in_short_transaction", lambda work: work())
    monkeypatch.setattr(risk_checks, "receive_decision", fail_once)
    monkeypatch.setattr(consuming, "_apply", lambda event, dry_run: intake.apply(event))

    tally = run(monkeypatch, MemorySource(structured(decision(person))))

    assert tally == Tally(applied=1)
    assert not ParkedMessage.objects.exists()


def test_nothing_is_fetched_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    """A queue may drop what is returned to it often: RabbitMQ 4 does so after 20 times."""
    errors = [OperationalError("connection refused") for _ in range(3)]
    ensure, source = connection.ensure_connection, MemorySource(structured(decision(person)))
    connected_while_away: list[int] = []

    def fail_at_first() -> None:
        if errors:
            connected_while_away.append(source.connected)
            raise errors.pop()
        ensure()

    monkeypatch.setattr(connection, "ensure_connection", fail_at_first)

    tally = run(monkeypatch, source)

    assert connected_while_away == [0, 0, 0]
    assert (tally, source.connected) == (Tally(applied=1), 1)


NOBODY = "019ab5d2-7c1e-7b60-9d0f-0c8f5f6f3f10"
POISON = [
    pytest.param(structured(b"\xff\x00nonsense"), "no CloudEvent in structured", id="no JSON"),
    pytest.param(structured(b"[]"), "no CloudEvent in structured", id="no object"),
    pytest.param(structured(b"[" * 100_000), "", id="deep"),
    pytest.param(structured({}, "text/plain"), "content type is 'text/plain'", id="no CloudEvent"),
    pytest.param(structured(decision(NOBODY, specversion="2.0")), "2.0", id="version"),
    pytest.param(structured(decision(NOBODY, id="")), "source or id", id="empty id"),
    pytest.param(structured(decision(NOBODY, id="x" * 256)), "source or id", id="long id"),
    pytest.param(structured(decision(NOBODY, id=7)), "no CloudEvent", id="number as id"),
    pytest.param(structured(decision(NOBODY, type="other.v1")), "Nobody takes", id="type"),
    pytest.param(structured(decision(NOBODY, time="2020-01-01T00:00:00Z")), "so old", id="old"),
    pytest.param(structured(decision(NOBODY, data=7)), "no JSON object", id="data"),
    pytest.param(structured(decision(NOBODY)), "no such account", id="account"),
    pytest.param(structured(decision(NOBODY, data={"x": 1})), "not known", id="fields"),
    pytest.param(structured(decision(NOBODY, data={"decision": "\x00"})), "valid choice", id="nul"),
    pytest.param(binary(decision(NOBODY), body=b"\xff"), "binary mode", id="binary no JSON"),
    pytest.param(binary(decision(NOBODY), attributes={"id": "\x00"}), "binary", id="binary nul"),
]


@pytest.mark.parametrize(("poison", "sentence"), POISON)
def test_what_can_not_be_taken_is_parked_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, person: User, poison: Incoming, sentence: str
) -> None:
    source = MemorySource(poison, structured(decision(person)))

    tally = run(monkeypatch, source)

    assert tally == Tally(applied=1, parked=1)
    assert source.queue == []
    parked = ParkedMessage.objects.get()
    assert sentence in parked.error
    assert bytes(parked.body) == poison.body
    assert parked.source == "amqp://b.example"
    assert ReceivedMessage.objects.count() == 1


def record(event: dict[str, Any], *headers: tuple[Any, Any]) -> Any:
    """Return a record as aiokafka has it, in binary mode, with further headers."""
    attributes = [(f"ce_{name}", text.encode()) for name, text in event.items() if name != "data"]
    return SimpleNamespace(
        topic="risk",
        partition=0,
        offset=7,
        value=json.dumps(event["data"]).encode(),
        headers=(("content-type", b"application/json"), *attributes, *headers),
    )


def test_a_record_with_a_header_of_no_value_is_taken(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    incoming = kafka._incoming(record(decision(person), ("traceparent", None), ("ce_x", None)))

    tally = run(monkeypatch, MemorySource(incoming))

    assert incoming.attributes["x"] == ""
    assert tally == Tally(applied=1)


def test_a_record_whose_headers_can_not_be_read_is_parked(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    poison = kafka._incoming(record(decision(person), ("traceparent", 7)))

    tally = run(monkeypatch, MemorySource(poison, structured(decision(person))))

    assert tally == Tally(applied=1, parked=1)
    parked = ParkedMessage.objects.get()
    assert "Its headers can't be read: AttributeError" in parked.error
    assert (bytes(parked.body), parked.place) == (poison.body, "risk[0]@7")


class BatchReader:
    """A client that reads as aiokafka does: no batch in which a header's name is no UTF-8."""

    def __init__(self, *batches: list[Any]) -> None:
        self.batches = batches
        self.at = 0
        self.start = self.stop = self.commit = AsyncMock()
        self.topics = AsyncMock(return_value={"risk"})

    def subscribe(self, topics: list[str], listener: Any) -> None:
        listener.on_partitions_assigned([])

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("risk", 0)}

    async def position(self, partition: TopicPartition) -> int:
        return self.at

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at = offset

    async def getmany(self, *partitions: Any, timeout_ms: int, max_records: int) -> Any:
        parsed = (self._parsed(each) for batch in self._ahead() for each in batch)
        found = list(islice((each for each in parsed if each.offset >= self.at), max_records))
        self.at += len(found)
        return {TopicPartition("risk", 0): found} if found else {}

    def _ahead(self) -> list[list[Any]]:
        return [batch for batch in self.batches if batch[-1].offset >= self.at]

    def _parsed(self, record: Any) -> Any:
        for name, _ in record.headers:
            name if isinstance(name, str) else name.decode()
        return record


def test_a_header_whose_name_is_no_utf8_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    flaw = (b"\xff", b"x")
    first, flawed, behind, last = records = [
        record(decision(person, id=f"msg_{n}"), *([flaw] if n == 1 else [])) for n in range(4)
    ]
    for offset, each in enumerate(records):
        each.offset = offset
    client = BatchReader([first, flawed, behind], [last])
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", lambda **settings: client)

    tally = run(monkeypatch, kafka.Source(urlsplit("kafka://b.example?topic=risk")))

    assert tally == Tally(applied=2, parked=2)  # the client reads nothing behind it in its batch
    parked = ParkedMessage.objects.order_by("pk")
    assert [each.place for each in parked] == ["risk[0]@1", "risk[0]@2"]
    assert "Its headers can't be read: UnicodeDecodeError" in parked[0].error
    assert client.at == 4


def test_kafka_is_asked_for_committed_records_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a producer's transaction took back is no decision."""
    asked: dict[str, Any] = {}

    class Client:
        def __init__(self, **settings: Any) -> None:
            asked.update(settings)
            raise KafkaConnectionError("enough")

    monkeypatch.setattr(kafka, "AIOKafkaConsumer", Client)
    connect = source_of("kafka://b.example?topic=t")

    with pytest.raises(SourceLost), connect():
        pass

    assert asked["isolation_level"] == "read_committed"


def test_a_message_whose_headers_can_not_be_read_is_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    properties = SimpleNamespace(content_type="application/json", headers={b"\xff": "bytes"})
    poison = amqp._incoming("risk", SimpleNamespace(delivery_tag=1), properties, b"{}")

    tally = run(monkeypatch, MemorySource(poison))

    assert tally == Tally(parked=1)
    assert "Its headers can't be read" in ParkedMessage.objects.get().error


def test_a_message_whose_content_type_is_no_text_is_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    properties = SimpleNamespace(content_type=b"\xff", headers=None)
    poison = amqp._incoming("risk", SimpleNamespace(delivery_tag=1), properties, b"{}")

    tally = run(monkeypatch, MemorySource(poison))

    assert tally == Tally(parked=1)


def test_what_fails_for_a_reason_of_ours_is_parked_whole(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    def fail(**given: Any) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(risk_checks, "receive_decision", fail)

    tally = run(monkeypatch, MemorySource(structured(decision(person))))

    assert tally == Tally(parked=1)
    assert ParkedMessage.objects.get().error == "RuntimeError: a bug"


def test_a_message_that_comes_again_is_parked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemorySource(structured(b"nonsense"))
    source.losses = 1

    run(monkeypatch, source)

    assert ParkedMessage.objects.count() == 1


def test_a_parked_message_is_taken_again_once_what_was_wrong_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(monkeypatch, MemorySource(binary(decision(NOBODY))))
    parked = ParkedMessage.objects.get()

    before = take_again(parked)
    assert ParkedMessage.objects.count() == 1
    User.objects.filter(pk=make_person().pk).update(id=NOBODY)
    after = take_again(parked)

    assert (before, after) == (False, True)
    assert not ParkedMessage.objects.exists()
    assert len(decisions_published()) == 1


def test_staff_have_parked_messages_taken_again(
    monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    run(monkeypatch, MemorySource(structured(b"<nonsense>")))
    listing, parked = "/admin/relay/parkedmessage/", ParkedMessage.objects.get()

    page = client.get(f"{listing}{parked.pk}/change/").content.decode()
    chosen = {"action": "take_again", "_selected_action": [str(parked.pk)]}
    told = client.post(listing, chosen, follow=True).content.decode()

    assert "&lt;nonsense&gt;" in page
    assert "0 taken, 1 still parked." in told


def test_a_dry_run_changes_nothing(monkeypatch: pytest.MonkeyPatch, person: User) -> None:
    source = MemorySource(structured(decision(person)), structured(b"nonsense"))

    tally = run(monkeypatch, source, dry_run=True)

    assert tally == Tally(applied=1, parked=1)
    assert len(source.queue) == 2
    assert not ParkedMessage.objects.exists()
    assert not ReceivedMessage.objects.exists()
    assert decisions_published() == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nats://b.example", "must begin with one of"),
        ("nonsense", "must begin with one of"),
        ("amqp://b.example", "Name the queue"),
        ("amqp://b.example?queue=q&stream=s", "no option stream"),
        ("kafka://b.example", "Name the topic"),
        ("kafka://b.example?topic=t&mechanism=X", "no mechanism X"),
        ("amqp://b.example:port?queue=q", "not a URL"),
    ],
)
def test_a_url_that_can_not_be_read_from_is_wrong_usage(url: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as error:
        call_command("consume", url)

    assert error.value.returncode == 2


def test_the_outcome_is_one_json_document_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, person: User
) -> None:
    source = MemorySource(structured(decision(person)), structured(b"nonsense"))
    monkeypatch.setattr(consuming, "source_of", lambda url: lambda: source)
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 could not be taken") as error:
        call_command(
            "consume",
            "amqp://u:safe@b.example?queue=q",
            until_idle=1,
            json=True,
            stdout=out,
        )

    assert error.value.returncode == 1
    assert json.loads(out.getvalue()) == {
        "dry_run": False,
        "source": "amqp://b.example",
        "applied": 1,
        "repeated": 0,
        "parked": 1,
        "not_looked_at": 0,
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_a_dry_run_says_how_many_it_has_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, person: User, as_json: bool
) -> None:
    source = MemorySource(structured(decision(person)))
    source.hidden = 7
    monkeypatch.setattr(consuming, "source_of", lambda url: lambda: source)
    out = io.StringIO()

    call_command(
        "consume", "amqp://b.example?queue=q", dry_run=True, until_idle=1, json=as_json, stdout=out
    )

    if as_json:
        assert json.loads(out.getvalue())["not_looked_at"] == 7
    else:
        assert "7 more are there that were not looked at" in out.getvalue()
