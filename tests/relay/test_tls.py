"""Webhooks over TLS: the certificate must be that of the name, whichever address is called."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from events.models import Attempt
from relay.transport import tls
from tests.conftest import Drain
from tests.relay.certificates import (
    NAME,
    certificate_for,
    context_with,
    name_this_machine,
    trust,
)
from tests.relay.conftest import Register, Subscribe
from tests.relay.partner import Partner, running

pytestmark = pytest.mark.django_db(transaction=True)

Serve = Callable[[str], Partner]


@pytest.fixture
def serve(_at_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Return a function that runs another system with a trusted certificate for a name."""
    open_ones = []

    def run(name: str) -> Partner:
        path = certificate_for(name, tmp_path)
        trust(path, monkeypatch)
        block = running(context_with(path))
        open_ones.append(block)
        return block.__enter__()

    yield run
    tls.cache_clear()
    for block in open_ones:
        block.__exit__(None, None, None)


@pytest.fixture
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name lead to this machine."""
    name_this_machine(monkeypatch)


def url_of(partner: Partner) -> str:
    """Return the partner's URL by its name."""
    return partner.url.replace("127.0.0.1", NAME)


@pytest.mark.usefixtures("_named")
def test_a_webhook_is_sent_to_the_name_at_the_checked_address(
    drain: Drain, serve: Serve, subscribe: Subscribe, register: Register
) -> None:
    partner = serve(NAME)
    subscribe(url_of(partner))
    register()

    drain()

    [received] = partner.received
    assert received.headers["host"].partition(":")[0] == NAME


@pytest.mark.usefixtures("_named")
def test_a_certificate_of_another_name_is_refused(
    drain: Drain, serve: Serve, subscribe: Subscribe, register: Register
) -> None:
    partner = serve("other.example")
    subscribe(url_of(partner))
    register()

    drain()

    assert partner.received == []
    assert "CERTIFICATE_VERIFY_FAILED" in Attempt.objects.get().error_message
