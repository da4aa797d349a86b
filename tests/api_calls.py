"""Every call of the API, read from the addresses Usher answers to, so that no list forgets one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLResolver, get_resolver

PREFIX = "api/v1/"
_METHODS = ("get", "post", "put", "patch", "delete")
_PLACE = re.compile(r"<(?:\w+:)?\w+>")


@dataclass(frozen=True, slots=True)
class Call:
    """A method at an address. `name` is that of the address: `api-coupon-redeem`."""

    method: str
    route: str
    name: str
    view: Any

    def __str__(self) -> str:
        return f"{self.method} {self.name}"

    @property
    def has_place(self) -> bool:
        """Whether the address has an id or a code in it."""
        return bool(_PLACE.search(self.route))

    @property
    def is_list(self) -> bool:
        """Whether the answer comes in pages."""
        return self.method == "get" and hasattr(self.view, "list")

    def path(self, place: object = "") -> str:
        """Return the address, with an id or a code put in."""
        return "/" + _PLACE.sub(str(place), self.route)


def api_calls() -> list[Call]:
    """Return every call under /api/v1/."""
    return [
        Call(method, route, name, view)
        for route, name, view in _routes(get_resolver("project.urls"), "")
        if route.startswith(PREFIX)
        for method in _METHODS
        if hasattr(view, method)
    ]


def _routes(resolver: URLResolver, before: str) -> Iterator[tuple[str, str, Any]]:
    for each in resolver.url_patterns:
        route = f"{before}{each.pattern}"
        if isinstance(each, URLResolver):
            yield from _routes(each, route)
        else:
            yield route, each.name or route, getattr(each.callback, "cls", None)
