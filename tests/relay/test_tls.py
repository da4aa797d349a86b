"""Webhooks over TLS: the certificate must be that of the name, whichever address is called."""

import datetime as dt
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from events.models import Attempt
from relay.transports import webhook
from tests.conftest import Drain
from tests.relay.conftest import Register, Subscribe
from tests.relay.partner import Partner, running

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "hooks.example"
Serve = Callable[[str], Partner]


def certificate_for(name: str, directory: Path) -> Path:
    """Write a self-signed certificate with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def serve(_at_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Return a function that runs another system with a trusted certificate for a name."""
    open_ones = []

    def run(name: str) -> Partner:
        path = certificate_for(name, tmp_path)
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(path)
        monkeypatch.setattr(webhook, "_tls", lambda: ssl.create_default_context(cafile=path))
        block = running(own)
        open_ones.append(block)
        return block.__enter__()

    yield run
    for block in open_ones:
        block.__exit__(None, None, None)


@pytest.fixture
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name lead to this machine."""
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == NAME else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


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
