"""What docs/integrations.md shows to partners works on what they are sent."""

import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from relay.sealing import unseal
from tests.conftest import Drain
from tests.relay.conftest import Register, Subscribe
from tests.relay.partner import Partner, Received
from tests.servers.process import free_port

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = Path(__file__).parents[2].joinpath("docs/integrations.md").read_text()
NODE = shutil.which("node")


def example(language: str, about: str = "") -> str:
    """Return the one example in a language, of those that begin by telling what they are about."""
    codes: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)
    [code] = [code for code in codes if ("# zeromq" in code) == (about == "zeromq")]
    return code


def read_in_python(secret: str, headers: dict[str, str], body: bytes) -> Any:
    """Run the Python example."""
    names: dict[str, Any] = {}
    exec(example("python"), names)  # noqa: S102  # our own text
    return names["read_event"](secret, headers, body)


def read_in_node(secret: str, headers: dict[str, str], body: bytes) -> Any:
    """Run the JavaScript example. Raises CalledProcessError where it throws."""
    given = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
    run = (
        f"{example('js')}\n"
        "const given = JSON.parse(require('node:fs').readFileSync(0));\n"
        "console.log(JSON.stringify(readEvent(given.secret, given.headers, given.body)));"
    )
    done = subprocess.run(
        [NODE or "", "-e", run], input=given, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


READERS = [
    pytest.param(read_in_python, id="python"),
    pytest.param(
        read_in_node,
        id="node",
        marks=pytest.mark.skipif(NODE is None, reason="Node is not installed"),
    ),
]
each_reader = pytest.mark.parametrize("read", READERS)
REFUSALS = (WebhookVerificationError, subprocess.CalledProcessError)


@pytest.fixture
def sent(
    drain: Drain, partner: Partner, subscribe: Subscribe, register: Register
) -> tuple[str, Received]:
    """Return the secret of an endpoint, and what it was sent."""
    endpoint = subscribe(partner.url)
    register()
    drain()
    return unseal(endpoint.sealed_secret), partner.received[0]


@each_reader
def test_an_event_is_read(read: Any, sent: tuple[str, Received]) -> None:
    secret, received = sent

    event = read(secret, received.headers, received.body)

    assert event["id"] == received.headers["webhook-id"]
    assert event["type"] == "accounts.user_registered.v1"


@each_reader
def test_an_altered_or_old_event_is_refused(read: Any, sent: tuple[str, Received]) -> None:
    secret, received = sent
    old = {**received.headers, "webhook-timestamp": str(int(time.time()) - 400)}

    with pytest.raises(REFUSALS):
        read(secret, received.headers, received.body.replace(b"null", b"true"))
    with pytest.raises(REFUSALS):
        read(secret, old, received.body)


def test_the_example_has_the_fields_of_an_event(sent: tuple[str, Received]) -> None:
    _, received = sent
    shown, *_ = re.findall(r"```json\n(.*?)```", TEXT, re.S)

    assert json.loads(shown).keys() == json.loads(received.body).keys()


def test_the_example_of_a_zeromq_socket_takes_events(
    drain: Drain, subscribe: Subscribe, register: Register
) -> None:
    names: dict[str, Any] = {}
    exec(example("python", about="zeromq"), names)  # noqa: S102  # our own text
    kept: list[Any] = []
    port = free_port()
    endpoint = subscribe(f"zmq+tcp://127.0.0.1:{port}")
    arguments = (f"tcp://127.0.0.1:{port}", unseal(endpoint.sealed_secret), kept.append)
    threading.Thread(target=names["serve"], args=arguments, daemon=True).start()
    event = register()

    drain()

    assert [each["id"] for each in kept] == [str(event.id)]
