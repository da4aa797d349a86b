"""The event catalogue says what the code declares, in forms that tools read; docs/ has it too."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.core.management import call_command
from django.utils import timezone

from coupons.signals import CouponRedeemed
from events.envelope import Event
from events.operations.catalog import catalogue, field_comments
from events.receivers import all_receivers, get_receiver
from events.signals import all_signals, get_signal
from relay.decisions import REASON_LENGTH
from relay.intake import taken_types
from relay.transport import transports
from tests.contracts.test_payloads import FILES
from tests.processes import ROOT

DOCS = ROOT / "docs"
OFFICIAL = ROOT / "tests" / "contracts" / "asyncapi" / "3.0.0.json"


def told(format_: str) -> str:
    """Return what the command prints."""
    out = StringIO()
    call_command("event_catalog", "--format", format_, stdout=out)
    return out.getvalue()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    made: dict[str, Any] = json.loads(told("asyncapi"))
    return made


# --- What is kept in docs/ ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_", "file"), [("markdown", "event-catalogue.md"), ("asyncapi", "asyncapi.json")]
)
def test_the_committed_catalogue_is_what_the_product_declares(format_: str, file: str) -> None:
    command = [sys.executable, "manage.py", "event_catalog", "--format", format_]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings"}  # without the probe

    printed = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)

    is_up_to_date = (DOCS / file).read_text() == printed.stdout.decode()
    assert is_up_to_date, "Run `make catalogue`, and look at the difference."


@pytest.mark.parametrize("changed", ["name", "guarantee", "signals", "queue", "batch"])
def test_a_change_of_a_receiver_shows(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, before = get_receiver("coupons.follow_account"), told("markdown")
    others = {
        "name": "coupons.follow_accounts",
        "guarantee": get_receiver("relay.send").guarantee,
        "signals": (get_signal("accounts.user_registered"),),
        "queue": "slow",
        "batch": not receiver.batch,
    }
    values = {name: getattr(receiver, name) for name in receiver.__dataclass_fields__}
    changed_one = type(receiver)(**{**values, changed: others[changed]})
    declared = [changed_one if each is receiver else each for each in all_receivers()]
    monkeypatch.setattr("events.operations.catalog.all_receivers", lambda: tuple(declared))

    assert told("markdown") != before


# --- For programs ---------------------------------------------------------------------------------


def test_the_document_is_valid_asyncapi_3(document: dict[str, Any]) -> None:
    validator = jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text()))

    assert [error.message for error in validator.iter_errors(document)] == []


def test_the_official_schema_refuses_what_is_wrong(document: dict[str, Any]) -> None:
    validator = jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text()))
    name = "accounts.user_registered.publish"
    wrong = {**document, "operations": {name: {**document["operations"][name], "action": "emit"}}}

    assert list(validator.iter_errors(wrong))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(references_in(document))

    assert len(references) > 100
    for reference in references:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_operations_name_messages_of_their_channel(document: dict[str, Any]) -> None:
    for name, operation in document["operations"].items():
        for message in operation.get("messages", []):
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/"), name


def test_every_event_has_a_channel_and_every_receiver_its_operations(
    document: dict[str, Any],
) -> None:
    operations = document["operations"]

    for signal in all_signals():
        assert signal.type in document["channels"]
        assert operations[f"{signal.type}.publish"]["action"] == "send"
    for receiver in all_receivers():
        for signal in receiver.signals:
            operation = operations[f"{receiver.name}.on.{signal.type}"]
            assert operation["action"] == "receive"
            assert operation["x-receiver"]["guarantee"] == receiver.guarantee.value


def test_every_transport_of_the_relay_has_a_channel(document: dict[str, Any]) -> None:
    modules = {module.__name__.rpartition(".")[2] for module in transports().values()}

    names = {name.removeprefix("relay.") for name in document["channels"]}

    assert modules <= names  # declared in relay/channels.py
    for module in modules:
        channel = document["channels"][f"relay.{module}"]
        assert "accounts.user_registered" in channel["messages"]
        assert "relay.test_requested" not in channel["messages"]


def test_what_other_systems_may_send_is_received(document: dict[str, Any]) -> None:
    channel = document["channels"]["relay.consume"]

    assert sorted(channel["messages"]) == taken_types()
    assert document["operations"]["relay.consume.receive"]["action"] == "receive"


@pytest.mark.parametrize(
    "wrong", [{"decision": "maybe"}, {"reason": "x" * (REASON_LENGTH + 1)}, {"more": "!"}]
)
def test_a_decision_as_partners_are_shown_it_is_valid_by_its_message(
    document: dict[str, Any], wrong: dict[str, str]
) -> None:
    shown = re.findall(r"```json\n(.*?)```", (DOCS / "integrations.md").read_text(), re.S)[-1]
    event = json.loads(shown)
    message = document["channels"]["relay.consume"]["messages"][event["type"]]
    validator = jsonschema.Draft7Validator({**document, **message["payload"]})

    validator.validate(event)
    validator.validate({**event, "data": event["data"] | {"reason": "x" * REASON_LENGTH}})

    assert validator.is_valid({**event, "data": event["data"] | wrong}) is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_leaves_the_house_is_valid_by_the_message_of_its_type(
    path: Path, document: dict[str, Any]
) -> None:
    type_, _, version = path.stem.rpartition(".v")
    [message] = document["channels"][type_]["messages"].values()
    validator = jsonschema.Draft7Validator({**document, **message["payload"]})

    for example in json.loads(path.read_text())["examples"]:
        sent = as_cloudevent(type_, int(version), example)
        validator.validate(sent)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**sent, "type": "another"})


def test_the_json_has_everything_declared() -> None:
    document = json.loads(told("json"))

    assert [each["type"] for each in document["events"]] == [s.type for s in all_signals()]
    receivers = {each["name"]: each for each in document["receivers"]}
    assert list(receivers) == [receiver.name for receiver in all_receivers()]
    welcome = receivers["coupons.issue_welcome_coupons"]
    assert welcome["types"] == ["accounts.user_registered"]
    assert (welcome["batch"], welcome["is_audited"]) == (True, True)
    assert welcome["retry"]["max_attempts"] == 16
    assert receivers["probe.call_once"]["retry"] is None
    assert receivers["relay.send"]["targeted"] is True


# --- For people -----------------------------------------------------------------------------------


def test_units_and_meanings_come_from_the_comments_beside_the_fields() -> None:
    comments = field_comments(CouponRedeemed)

    assert comments["discount"] == "minor units"
    assert "redemption_id" not in comments


def test_a_comment_above_a_field_is_its_too() -> None:
    @dataclass
    class Data:
        """Data."""

        first: int  # of all
        # Why it is,
        # in two lines.
        second: int
        third: int

    assert field_comments(Data) == {"first": "of all", "second": "Why it is, in two lines."}


def test_the_text_tells_of_each_event_and_who_reacts_how() -> None:
    text = told("text")

    [line] = [
        line
        for line in text.partition("accounts.user_registered v1")[2].splitlines()
        if "→ coupons.issue_welcome_coupons" in line
    ][:1]
    assert "exactly_once, queue coupons, batches" in line
    assert "audited" in line
    assert re.search(r"inviter_id +uuid or null +who invited them", text)
    assert "relay.send, targeted" in text


def test_the_diagram_draws_every_receiver_with_an_arrow() -> None:
    lines = told("mermaid").splitlines()

    assert lines[0] == "flowchart LR"
    arrows = [line for line in lines if "-->" in line]
    ids = {match[1] for line in lines if (match := re.match(r"    (\w+)[\[(]", line))}
    for receiver in catalogue().receivers:
        if not receiver.targeted:
            node = "receiver_" + receiver.name.replace(".", "_")
            assert node in ids
            assert any(arrow.endswith(f"--> {node}") for arrow in arrows)
    for arrow in arrows:
        source = arrow.split("-->")[0].strip()
        assert source.startswith("all_") or source in ids


def references_in(value: Any) -> Iterator[str]:
    """Yield every $ref in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from references_in(each)


def as_cloudevent(type_: str, version: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return an event as it is sent."""
    signal = get_signal(type_)
    event: Event[Any] = Event(
        id=UUID(int=1),
        position=1,
        type=type_,
        version=version,
        key="k",
        data=signal._lifted(data, version),
        occurred_at=timezone.now(),
        correlation_id="r",
        causation_id=None,
    )
    return event.to_cloudevent("https://usher.example")
