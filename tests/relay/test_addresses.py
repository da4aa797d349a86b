"""No webhook reaches into our own networks, whatever its name or address looks like."""

import socket
import time
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from relay import addresses
from relay.addresses import AddressRefused, allowed_addresses, is_allowed, open_socket
from relay.validation import clean_location

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2001:db8::1",
    "::7f00:1",
    "::5db8:d822",
    "::ffff:0:7f00:1",
    "::ffff:0:5db8:d822",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:ffff::1",
    "fec0::1",
    "feff::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address)


def test_a_setting_allows_a_network_and_no_other(settings: Settings) -> None:
    settings.RELAY_ALLOWED_NETWORKS = ["10.20.0.0/16"]

    assert is_allowed("10.20.1.1")
    assert is_allowed("::ffff:10.20.1.1")
    assert not is_allowed("10.21.1.1")


def test_a_setting_allows_also_what_is_refused_whatever_the_python_says(settings: Settings) -> None:
    settings.RELAY_ALLOWED_NETWORKS = ["fec0::/10"]

    assert is_allowed("fec0::1")
    assert not is_allowed("64:ff9b:1::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "localhost", "::1"])
def test_other_spellings_of_this_machine_are_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        allowed_addresses(host, 80, deadline=time.monotonic() + 5)


def test_the_address_connected_to_is_the_one_that_was_checked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to a public address once, and to this machine the next time."""
    answers = iter(["93.184.216.34", "127.0.0.1"])
    connected: list[Any] = []

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", lambda to, timeout: connected.append(to))

    open_socket("rebinding.example", 443, deadline=time.monotonic() + 5)

    assert connected == [("93.184.216.34", 443)]


def test_only_the_allowed_of_several_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        found = ("10.0.0.1", "93.184.216.34")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    found = allowed_addresses("mixed.example", 443, deadline=time.monotonic() + 5)

    assert found == ["93.184.216.34"]


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_resolvers", lambda: _Never())

    with pytest.raises(TimeoutError, match="looked up in time"):
        allowed_addresses("slow.example", 443, deadline=time.monotonic() + 0.05)


class _Never:
    def submit(self, *args: Any, **kwargs: Any) -> Any:
        from concurrent.futures import Future

        return Future()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://example.com/", "must begin with"),
        ("https://", "names no host"),
        ("nonsense", "must begin with"),
        ("http://example.com/", "https:// only"),
        ("https://user:secret@example.com/", "no user and password"),
        ("https://example.com/#part", "behind #"),
        ("https://exa mple.com/", "visible ASCII"),
        ("https://ex\u00e4mple.com/", "visible ASCII"),
        ("https://example.com:port/", "not a URL"),
        ("https://169.254.169.254/latest/", "private"),
        ("https://[::1]/", "private"),
        ("https://example.com/" + "x" * 500, "at most 500"),
        ("https://example.com/\r\nHost: evil", "visible ASCII"),
    ],
)
def test_a_url_that_can_not_be_sent_to_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        clean_location(url)


def test_a_brokers_password_is_kept_apart() -> None:
    location = clean_location("amqp://usher:s%40fe@broker.example:5672/vhost?exchange=events")

    assert location.url == "amqp://usher@broker.example:5672/vhost?exchange=events"
    assert location.password == "s@fe"
