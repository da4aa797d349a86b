"""Which pages a large history may slow down: the admin, its lists with filters, the API."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse

FEW = "accounts.settle_referrals"  # a receiver that has next to nothing of all the deliveries
FILTER_CHOICES = 3  # of each filter: the first ones beside "all"
LEFT_OUT = ("logout", "jsi18n", "autocomplete", "password_change", "/add/", "/login/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is asked for."""

    name: str
    address: str
    body: Mapping[str, str] | None = None  # of a POST
    as_person: bool = False  # not as staff
    leads_on: bool = False  # it answers with a redirection, as it should


def pages(staff: Any) -> Iterator[Page]:
    """Yield every page that is measured."""
    yield from _without_arguments()
    yield from _filtered_lists(staff)
    yield from _about_one()
    yield from _lists_of_the_api()
    yield from _of_a_person()


def _without_arguments() -> Iterator[Page]:
    """Yield each page of the admin whose address says nothing more; dashboards are among them."""
    for route in sorted(_routes(get_resolver().url_patterns, "")):
        if route.startswith("admin/") and not any(name in route for name in LEFT_OUT):
            yield Page(name=f"/{route}", address=f"/{route}")
    for name in ("metrics", "readyz", "landing"):
        yield Page(name=reverse(name), address=reverse(name))


def _routes(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        elif not set(route) & set("<(^"):
            yield route


def _filtered_lists(staff: Any) -> Iterator[Page]:
    """Yield each list of the admin as each of its filters narrows it, its second page too."""
    for model, model_admin in admin.site._registry.items():
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        request = RequestFactory().get(address)
        request.user = staff
        if not model_admin.has_view_permission(request):
            continue
        yield Page(name=f"{address}?p=2", address=f"{address}?p=2")
        for query in _queries_of(model_admin, request):
            yield Page(name=address + query, address=address + query)


def _queries_of(model_admin: Any, request: Any) -> Iterator[str]:
    change_list = model_admin.get_changelist_instance(request)
    for spec in change_list.filter_specs:
        choices = [choice for choice in spec.choices(change_list) if not choice.get("selected")]
        for choice in choices[:FILTER_CHOICES]:
            if query := choice.get("query_string"):
                yield query


def _dead_one() -> Any:
    """Return a delivery that is dead, or in a small history just any."""
    from events.models import Delivery

    return Delivery.objects.filter(state="dead").last() or Delivery.objects.latest("pk")


def _about_one() -> Iterator[Page]:
    """Yield what is told of one person and one event, and how they are found."""
    from accounts.models import User
    from events.models import Event

    dead = _dead_one()
    inviter = User.objects.filter(points_account__balance__gt=0).latest("registered_at")
    event = Event.objects.get(event_id=dead.event_id)
    for name, view, key in (
        ("support, an inviter", "support-person", str(inviter.pk)),
        ("support, an event", "support-event", str(event.event_id)),
        ("support, whose delivery is dead", "support-person", event.key),
    ):
        yield Page(name=name, address=reverse(view, args=[key]))
    looked_up = {"an address": inviter.email, "an id of an event": str(event.event_id)}
    for name, wanted in looked_up.items():
        body = {"wanted": wanted}
        yield Page(
            name=f"support, look up {name}", address=reverse("support"), body=body, leads_on=True
        )
    for name, row, term in (
        ("events_event", event, event.key),
        ("events_delivery", dead, dead.key),
        ("accounts_user", inviter, inviter.email),
    ):
        address = reverse(f"admin:{name}_change", args=[row.pk])
        yield Page(name=f"admin, one {name}", address=address)
        address = f"{reverse(f'admin:{name}_changelist')}?{urlencode({'q': term})}"
        yield Page(name=f"admin, search {name}", address=address)


def _lists_of_the_api() -> Iterator[Page]:
    from events.models import DeliveryState, Event

    event, dead = Event.objects.latest("position"), _dead_one()
    queries: dict[str, list[dict[str, str]]] = {
        "api-events": [
            {},
            {"type": event.type},
            {"key": event.key},
            {"correlation_id": event.correlation_id},
        ],
        "api-deliveries": [
            {},
            {"event": str(event.event_id)},
            {"receiver": dead.receiver},
            {"receiver": FEW},
            *({"state": state} for state in DeliveryState.values),
            *({"state": state, "receiver": dead.receiver} for state in ("dead", "done")),
        ],
        "api-receivers": [{}],
        "api-endpoints": [{}],
    }
    for name, chosen in queries.items():
        for query in chosen:
            address = reverse(name) + (f"?{urlencode(query)}" if query else "")
            yield Page(name=address.replace(event.key, "…"), address=address)


def _of_a_person() -> Iterator[Page]:
    names = ("wallet", "api-me", "api-my-coupons", "api-my-points", "api-my-points-entries")
    for name in (*names, "api-referrals"):
        yield Page(name=reverse(name), address=reverse(name), as_person=True)
