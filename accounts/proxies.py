"""Whose X-Forwarded-For is believed: the proxies that TRUSTED_PROXIES names."""

from collections.abc import Sequence
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from django.conf import settings


def is_trusted(address: str) -> bool:
    """Tell whether this is a proxy of ours. What is no address is not."""
    return is_within(address, settings.TRUSTED_PROXIES)


def is_within(address: str, entries: Sequence[str]) -> bool:
    """Tell whether an address is one of those, or in one of those networks."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in _networks(tuple(entries)))


def nearest_client(forwarded_for: str, peer: str) -> str:
    """Return the nearest hop that is no proxy of ours. What stands before it, anyone can write."""
    nearest = peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        parsed = _parse(hop)
        if parsed is None:
            break
        nearest = str(parsed)
        if not is_trusted(nearest):
            break
    return nearest


def mistyped(entries: Sequence[str]) -> list[str]:
    """Return the entries of a setting that name no address and no network."""
    return [entry for entry in entries if entry.strip() and not _network(entry)]


@cache
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(network for network in map(_network, proxies) if network)


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip(), strict=False)
    except ValueError:
        return None


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    # A socket that listens on both families shows IPv4 peers as ::ffff:192.0.2.1.
    return getattr(parsed, "ipv4_mapped", None) or parsed
