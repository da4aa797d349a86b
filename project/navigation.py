"""The admin's sidebar: what each role does, in that order. Nobody sees what they may not open."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is no list, and the permissions to open it."""

    title: Promise
    icon: str
    name: str  # of the address
    rights: tuple[str, ...]
    about: Promise | str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The list of a model."""

    model: str  # as "coupons.campaign"
    icon: str
    title: Promise | None = None  # where the model's own says too little


@dataclass(frozen=True, slots=True)
class Group:
    """What belongs together."""

    title: Promise
    entries: tuple[Page | Listing, ...]


FRONT = Page(_("Front page"), "home", "admin:index", ())
GROUPS = (
    Group(
        _("Offers"),
        (
            Listing("coupons.campaign", "campaign"),
            Listing("coupons.coupon", "confirmation_number"),
            Listing("coupons.redemption", "shopping_bag"),
            Listing("coupons.issuedecision", "rule"),
            Listing("coupons.bulkissue", "playlist_add_check"),
            Listing("coupons.bulkissuerow", "format_list_numbered"),
            Page(
                _("Simulate"),
                "science",
                "simulate",
                (
                    "coupons.view_campaign",
                    "coupons.view_issuedecision",
                    "points.view_rewarddecision",
                ),
                _("What would somebody get, and why not? Nothing is written."),
            ),
            Listing("points.rewardrule", "redeem"),
            Listing("points.rewarddecision", "checklist"),
            Listing("accounts.referral", "group_add"),
        ),
    ),
    Group(
        _("Customers"),
        (
            Page(
                _("Support"),
                "support_agent",
                "support",
                ("events.view_event", "events.view_delivery"),
                _("What happened to a person or an event, what is late, and why."),
            ),
            Listing("accounts.user", "person"),
            Listing("account.emailaddress", "alternate_email"),
            Listing("points.pointsaccount", "account_balance_wallet"),
            Listing("points.entry", "receipt_long"),
            Listing("accounts.statuschange", "manage_history"),
            Listing("accounts.consent", "handshake"),
            Listing("project.mail", "mail"),
            Listing("mfa.authenticator", "phonelink_lock", _("Second factors")),
            Listing("usersessions.usersession", "devices", _("Sessions")),
            Listing("knox.authtoken", "key", _("API tokens")),
        ),
    ),
    Group(
        _("Operations"),
        (
            Page(
                _("Event monitor"),
                "monitor_heart",
                "monitor",
                ("events.view_event", "events.view_delivery"),
                _("How all receivers are doing, what fails, and what mends it."),
            ),
            Listing("project.alarm", "notifications"),
            Listing("events.event", "bolt"),
            Listing("events.delivery", "local_shipping"),
            Listing("events.attempt", "error"),
            Listing("events.receiverstate", "hub"),
            Page(
                _("Event catalogue"),
                "menu_book",
                "event-catalogue",
                ("events.view_event",),
                _("Which events there are, who publishes them and who reacts."),
            ),
            Listing("relay.endpoint", "output"),
            Listing("relay.parkedmessage", "inbox"),
            Listing("relay.receivedmessage", "move_to_inbox"),
            Listing("relay.riskcheck", "gpp_maybe"),
        ),
    ),
    Group(
        _("Queues and inboxes"),
        (
            Listing("django_q.ormq", "notifications_active"),
            Listing("django_q.schedule", "schedule"),
            Listing("django_q.success", "task_alt"),
            Listing("django_q.failure", "report"),
            Listing("accounts.processedevent", "done_all"),
            Listing("coupons.processedevent", "done_all"),
            Listing("points.processedevent", "done_all"),
            Listing("relay.processedevent", "done_all"),
        ),
    ),
    Group(
        _("Administration"),
        (
            Listing("auth.group", "groups"),
            Listing("admin.logentry", "history", _("Who did what")),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups that somebody may see, as unfold takes them."""
    groups: list[dict[str, Any]] = [{"items": [_link(request, FRONT.title, FRONT.icon, _front())]}]
    for group in GROUPS:
        items = list(_links(request, group))
        if items:
            groups.append({"title": group.title, "separator": True, "items": items})
    return groups


def _front() -> str:
    return reverse(FRONT.name)


def _links(request: HttpRequest, group: Group) -> Iterator[dict[str, Any]]:
    for entry in group.entries:
        if isinstance(entry, Page):
            if request.user.has_perms(entry.rights):
                link = _link(request, entry.title, entry.icon, reverse(entry.name))
                yield link | {"about": entry.about}
        elif (model := _shown(request, entry.model)) is not None:
            options = model._meta
            address = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
            yield _link(request, entry.title or _title_of(model), entry.icon, address)


def _link(request: HttpRequest, title: Any, icon: str, address: str) -> dict[str, Any]:
    is_here = request.path == address
    is_below = address != _front() and request.path.startswith(address)
    return {"title": title, "icon": icon, "link": address, "active": is_here or is_below}


def _shown(request: HttpRequest, label: str) -> type[Model] | None:
    """Return a model whose list this member of staff may open."""
    for model, model_admin in admin.site._registry.items():
        if model._meta.label_lower == label:
            return model if model_admin.has_view_or_change_permission(request) else None
    return None


def _title_of(model: type[Model]) -> str:
    """Return the list's name, with its app's where several are called the same."""
    name = str(model._meta.verbose_name_plural)
    name = name[:1].upper() + name[1:]
    if model._meta.model_name == "processedevent":
        return f"{name} ({model._meta.app_config.verbose_name})"
    return name
