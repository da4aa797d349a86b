"""Which addresses may be called: none inside our own networks, unless a setting allows it.

The address is checked when the connection is made, and is the one connected to: what a name
resolves to a moment later does not matter.
"""

import ipaddress
import os
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache
from typing import Any

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Not all versions of Python know these for what they are.
_REFUSED = [
    ipaddress.IPv6Network("::/96"),  # an IPv4 address, as RFC 4291 once embedded it
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # an IPv4 address, for a translator (SIIT)
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # an IPv4 address, for a translator of one's own
    ipaddress.IPv6Network("fec0::/10"),  # site-local
]


class AddressRefused(Exception):
    """A host has no address that may be called. See RELAY_ALLOWED_NETWORKS."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} has no public address. Where that is meant, an operator names its network in "
            "RELAY_ALLOWED_NETWORKS."
        )


def open_socket(host: str, port: int, *, deadline: float) -> socket.socket:
    """Connect to a host at an address that may be called, before `deadline` (monotonic seconds).

    Raises AddressRefused, and OSError where the host can't be found or reached.
    """
    failure: OSError = OSError("no address")
    for address in allowed_addresses(host, port, deadline=deadline):
        try:
            return socket.create_connection((address, port), timeout=_left_s(deadline))
        except OSError as error:
            failure = error
    raise failure


def allowed_addresses(host: str, port: int, *, deadline: float) -> list[str]:
    """Return the host's addresses that may be called.

    Raises AddressRefused where there is none, and OSError where the host can't be found.
    """
    allowed = [text for text in _resolve(host, port, deadline) if is_allowed(text)]
    if not allowed:
        raise AddressRefused(host)
    return allowed


def look_up(host: str, port: int, **options: Any) -> Future[Any]:
    """Begin to look a name up; `options` and the result are those of socket.getaddrinfo."""
    return _resolvers().submit(socket.getaddrinfo, host, port, **options)


def is_allowed(text: str) -> bool:
    """Tell whether an IP address is public, or in a network that a setting allows."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = _embedded(address)
    networks = [ipaddress.ip_network(network) for network in settings.RELAY_ALLOWED_NETWORKS]
    if any(each in network for each in (address, *inner) for network in networks):
        return True
    if any(address in network for network in _REFUSED):
        return False
    return all(each.is_global and not each.is_multicast for each in (*inner, address))


def _embedded(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address.teredo:
        inner.append(address.teredo[1])
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in inner if each is not None]


def _resolve(host: str, port: int, deadline: float) -> list[str]:
    """Look a name up, which by itself has no time limit."""
    looked_up = look_up(host, port, type=socket.SOCK_STREAM)
    try:
        found = looked_up.result(_left_s(deadline))
    except FutureTimeoutError:
        raise TimeoutError(f"{host} could not be looked up in time") from None
    except UnicodeError:
        raise OSError(f"{host} is no name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@cache
def _resolvers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=16, thread_name_prefix="resolve")


os.register_at_fork(after_in_child=_resolvers.cache_clear)  # threads are not forked along


def _left_s(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left
