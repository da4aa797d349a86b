"""Whose X-Forwarded-For is believed: the proxies that TRUSTED_PROXIES names."""

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
    parsed = _parse(address)
    networks = _networks(tuple(settings.TRUSTED_PROXIES))
    return parsed is not None and any(parsed in network for network in networks)


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


def mistyped() -> list[str]:
    """Return the entries of TRUSTED_PROXIES that name no address and no network."""
    return [entry for entry in settings.TRUSTED_PROXIES if entry.strip() and not _network(entry)]


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
