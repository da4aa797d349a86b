"""Whose address a request counts under: X-Forwarded-For is believed from our own proxies only."""

import pytest
from allauth.account.adapter import get_adapter
from django.core import checks
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory
from pytest_django import Settings

PROXY, PROXIES = "10.0.0.1", ["10.0.0.0/24", "2001:db8::1", "203.0.113.9"]


def client_address(peer: str, forwarded_for: str | None = None) -> str:
    """Return the address a request is counted under."""
    headers = {} if forwarded_for is None else {"x-forwarded-for": forwarded_for}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)
    return str(get_adapter().get_client_ip(request))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("198.51.100.7", None, "198.51.100.7"),
        ("198.51.100.7", "192.0.2.1", "198.51.100.7"),  # no proxy of ours wrote it
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        (PROXY, "192.0.2.1", "192.0.2.1"),
        (PROXY, "6.6.6.6, 192.0.2.1", "192.0.2.1"),  # the client made 6.6.6.6 up
        (PROXY, "6.6.6.6, 192.0.2.1, 203.0.113.9", "192.0.2.1"),
        (PROXY, "6.6.6.6,,  192.0.2.1 , ", "192.0.2.1"),
        (PROXY, "nonsense, 203.0.113.9", "203.0.113.9"),
        (PROXY, "192.0.2.1, nonsense", PROXY),
        (PROXY, "203.0.113.9, 10.0.0.7", "203.0.113.9"),  # nothing but our own hops
        (PROXY, "2001:DB8:0:0::2", "2001:db8::2"),
        (PROXY, "192.0.2.1:4711", PROXY),
        ("2001:db8::1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
        (PROXY, ",".join(["6.6.6.6"] * 5000) + ", 192.0.2.1", "192.0.2.1"),
    ],
)
def test_the_nearest_hop_that_is_not_ours_is_the_client(
    settings: Settings, peer: str, forwarded_for: str | None, address: str
) -> None:
    settings.TRUSTED_PROXIES = PROXIES

    assert client_address(peer, forwarded_for) == address


def test_nobody_is_believed_by_default(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = []

    assert client_address("127.0.0.1", "192.0.2.1") == "127.0.0.1"


def test_a_request_from_nowhere_is_refused() -> None:
    with pytest.raises(PermissionDenied):
        client_address("")


def test_blanks_around_a_proxy_do_not_matter(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = ["192.0.2.200", f" {PROXY} ", ""]

    assert client_address(PROXY, "192.0.2.1") == "192.0.2.1"


def test_a_mistyped_proxy_is_not_trusted_and_breaks_nothing(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.300", "proxy.example", PROXY]

    assert client_address(PROXY, "192.0.2.1") == "192.0.2.1"
    assert client_address("10.0.0.3", "192.0.2.1") == "10.0.0.3"


def test_a_mistyped_proxy_is_an_error_that_names_it(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [" 10.0.0.0/24", "10.0.0.300", "proxy.example"]

    found = [m for m in checks.run_checks(tags=["security"]) if m.id == "accounts.E001"]

    assert ["10.0.0.300" in found[0].msg, "proxy.example" in found[1].msg] == [True, True]
    assert all("TRUSTED_PROXIES" in m.msg and m.hint for m in found)


@pytest.mark.parametrize("proxies", [[], PROXIES])
def test_right_proxies_are_no_error(settings: Settings, proxies: list[str]) -> None:
    settings.TRUSTED_PROXIES = proxies

    assert "accounts.E001" not in {m.id for m in checks.run_checks(tags=["security"])}
