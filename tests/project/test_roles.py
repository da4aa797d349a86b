"""Each role may open and do in the admin what it is for, and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts.models import Referral, User
from coupons.models import Campaign
from events.interventions import Intervention
from events.models import Attempt, Delivery, ReceiverState
from points.models import PointsAccount, RewardRule
from project.roles import ROLES, make_roles
from relay.parked import ParkedMessage
from tests.api_world import World, make_world
from tests.points.factories import make_rule
from tests.registrations import make_person, refer

pytestmark = pytest.mark.django_db

# What a role may change; to look at it is allowed by ROLES.
ADDS = {"marketing": {"coupons.campaign", "points.rewardrule"}}
CHANGES = {
    "marketing": {"coupons.campaign", "points.rewardrule"},
    "on-call": {"relay.endpoint"},
}
ACTIONS = {
    "marketing": {"points.rewardrule": {"new_version"}},
    "support": {
        "accounts.user": {
            *("flag", "clear", "close", "close_as_fraud", "take_name_off", "allow_name"),
            "reset_second_factor",
        },
        "accounts.referral": {"approve", "void"},
        "events.delivery": {"replay"},
    },
    "on-call": {
        "events.delivery": {"replay", "skip"},
        "events.receiverstate": {"pause", "resume"},
        "relay.endpoint": {"enable", "disable", "send_test", "rotate", "replay_day"},
        "relay.parkedmessage": {"take_again"},
    },
    "auditor": {},
}
# Pages besides those of every model, and who may open them.
READERS = {"support", "on-call", "auditor"}
AS_THE_MONITOR = {"project.alarm"}
PAGES: dict[str, set[str]] = {
    "event-catalogue": READERS,
    "monitor": READERS,
    "monitor-parts": READERS,
    "monitor-receiver": READERS,
    "monitor-receiver-parts": READERS,
    "monitor-failures": READERS,
    "monitor-intervention": READERS,
    "monitor-intervention-parts": READERS,
    "monitor-begin-replay": {"support", "on-call"},
    "monitor-begin-skip": {"on-call"},
    "monitor-pause": {"on-call"},
    "monitor-resume": {"on-call"},
    "monitor-go-on": {"on-call"},
    "monitor-give-up": {"on-call"},
    "support": READERS,
    "support-person": READERS,
    "support-event": READERS,
    "support-replay": {"support", "on-call"},
    "support-skip": {"on-call"},
    "support-resume": {"on-call"},
    "coupons_campaign_step": {"marketing"},
    "coupons_campaign_stock": {"marketing"},
    "coupons_campaign_issue": {"marketing"},
    "coupons_campaign_import": {"marketing"},
    "coupons_campaign_export": {"marketing", "support", "auditor"},
    "coupons_campaign_figures": {"marketing", "support", "auditor"},
    "points_rewardrule_figures": {"marketing", "support", "auditor"},
    "simulate": {"marketing", "support", "auditor"},
    "simulate-person": {"marketing", "support", "auditor"},
    "points_pointsaccount_adjust": {"support"},
    "auth_user_password_change": set(),
}
OF_INTERVENTION = {
    "monitor-intervention",
    "monitor-intervention-parts",
    "monitor-go-on",
    "monitor-give-up",
}
POSTED = {
    "support-replay",
    "support-skip",
    "support-resume",
    "monitor-begin-replay",
    "monitor-begin-skip",
    "monitor-pause",
    "monitor-resume",
    "monitor-go-on",
    "monitor-give-up",
}
# The admin's own, for all staff; they show nothing of any model without its permission.
FOR_STAFF = {"index", "login", "logout", "password_change", "password_change_done", "jsi18n"}
FOR_STAFF |= {"autocomplete", "view_on_site", "app_list"}
STANDARD = ("changelist", "add", "history", "delete", "change")
MODELS = {model._meta.label_lower: model for model in admin.site._registry}


@dataclass(frozen=True, slots=True)
class Clerk:
    """A member of staff of one role, logged in."""

    role: str
    user: User
    client: Client

    def may_view(self, label: str) -> bool:
        """Tell whether the role's table says so."""
        if label in AS_THE_MONITOR:
            return self.role in READERS
        app, _, model = label.partition(".")
        return bool({f"{app}.view_{model}", f"{app}.change_{model}"} & set(ROLES[self.role]))


@pytest.fixture(params=ROLES)
def clerk(request: pytest.FixtureRequest, client: Client) -> Clerk:
    """Return somebody of each role."""
    make_roles(apps)
    role = str(request.param)
    user = User.objects.create_user(f"{role}@example.com", "irrelevant", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return Clerk(role, user, client)


@pytest.fixture
def world() -> World:
    """Return one of everything, failed and noted too."""
    world, now = make_world(), timezone.now()
    invitee = make_person()
    refer(invitee, world.owner)
    make_rule()
    ReceiverState.objects.create(name=world.delivery.receiver)
    ParkedMessage.objects.create(source="amqp://mq", place="q 1", body=b"{}", error="no event")
    Attempt.objects.create(
        delivery=world.delivery, number=1, started_at=now, ended_at=now, fingerprint="0"
    )
    LogEntry.objects.create(
        user=world.owner,
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(world.owner.pk),
        object_repr="somebody",
        action_flag=CHANGE,
    )
    return world


def page(name: str, label: str, *arguments: object) -> str:
    """Return the address of one of a model's pages."""
    return reverse(f"admin:{label.replace('.', '_')}_{name}", args=arguments)


# --- What there is --------------------------------------------------------------------------------


def test_every_permission_of_a_role_exists() -> None:
    known = {
        f"{label}.{codename}"
        for label, codename in Permission.objects.values_list("content_type__app_label", "codename")
    }

    assert {each for role in ROLES.values() for each in role} <= known


def test_the_migration_makes_the_groups_with_all_their_permissions() -> None:
    Group.objects.all().delete()
    loader = MigrationLoader(connection)
    state = loader.project_state(("project", "0004_roles"))
    migration = import_module("project.migrations.0004_roles")

    for _ in range(2):  # a second time changes nothing
        migration.create_roles(state.apps, connection.schema_editor())

    for name, permissions in ROLES.items():
        group = Group.objects.get(name=name)
        given = group.permissions.values_list("content_type__app_label", "codename")
        assert {f"{app}.{codename}" for app, codename in given} == set(permissions)


def test_groups_that_see_the_history_of_people_see_their_consents_since() -> None:
    state = MigrationLoader(connection).project_state(("project", "0007_see_consents"))
    migration = import_module("project.migrations.0007_see_consents")
    make_roles(apps)
    consents = Permission.objects.get(codename="view_consent")
    consents.group_set.clear()
    history = Permission.objects.get(codename="view_statuschange")

    for _ in range(2):  # a second time changes nothing
        migration.let_see_consents(state.apps, connection.schema_editor())
    assert set(consents.group_set.values_list("name", flat=True)) == {"auditor", "support"}

    consents.group_set.clear()
    Group.objects.get(name="support").permissions.remove(history)  # as the site wanted it
    migration.let_see_consents(state.apps, connection.schema_editor())
    assert set(consents.group_set.values_list("name", flat=True)) == {"auditor"}


def test_roles_that_read_change_nothing() -> None:
    verbs = {each.partition(".")[2].partition("_")[0] for each in ROLES["auditor"]}

    assert verbs == {"view"}


def test_no_role_gives_rights_or_deletes() -> None:
    everything = {each for role in ROLES.values() for each in role}

    assert not [each for each in everything if ".delete_" in each]
    assert not [each for each in everything if re.search(r"(add|change)_(user|group|perm)", each)]


# --- Every address --------------------------------------------------------------------------------


def test_every_address_of_the_admin_is_in_a_table() -> None:
    known = {*PAGES, *FOR_STAFF} | {
        f"{label.replace('.', '_')}_{name}" for label in MODELS for name in STANDARD
    }

    assert set(names_of_admin()) <= known
    assert set(PAGES) <= set(names_of_admin())


def names_of_admin() -> Iterator[str]:
    """Yield the name of each address below /admin/."""
    for route, name in routes(get_resolver(), ""):
        if route.startswith("admin/") and name:
            yield name


def routes(resolver: URLResolver, before: str) -> Iterator[tuple[str, str | None]]:
    """Yield each address with its name."""
    for each in resolver.url_patterns:
        route = f"{before}{each.pattern}"
        if isinstance(each, URLResolver):
            yield from routes(each, route)
        else:
            yield route, each.name


def test_lists_and_forms_open_for_whom_they_are(clerk: Clerk) -> None:
    for label in MODELS:
        list_opens = clerk.client.get(page("changelist", label)).status_code == 200
        form_opens = clerk.client.get(page("add", label)).status_code == 200

        assert list_opens == clerk.may_view(label), label
        assert form_opens == (label in ADDS.get(clerk.role, set())), label


def test_the_front_page_shows_what_may_be_opened_and_nothing_else(clerk: Clerk) -> None:
    html = clerk.client.get("/admin/").content.decode()

    for label in MODELS:
        assert (f'href="{page("changelist", label)}"' in html) == clerk.may_view(label), label


def test_single_rows_open_and_are_changed_by_whom_they_are_for(clerk: Clerk, world: World) -> None:
    rows = {label: model._default_manager.order_by("pk").first() for label, model in MODELS.items()}
    shown = {label: row for label, row in rows.items() if row is not None}

    assert len(shown) > 14
    for label, row in shown.items():
        address = page("change", label, quote(row.pk))
        opens = clerk.client.get(address).status_code == 200
        history = clerk.client.get(page("history", label, quote(row.pk))).status_code
        saved = clerk.client.post(address, {}).status_code

        assert opens == clerk.may_view(label), label
        assert (history == 200) == clerk.may_view(label), label
        assert (saved == 200) == (label in CHANGES.get(clerk.role, set())), (label, saved)


def test_nothing_is_deleted_by_a_role(clerk: Clerk, world: World) -> None:
    for label, model in MODELS.items():
        row = model._default_manager.order_by("pk").first()
        if row is not None:
            address = page("delete", label, quote(row.pk))
            assert clerk.client.post(address, {"post": "yes"}).status_code == 403, label


def test_other_pages_open_for_whom_they_are(clerk: Clerk, world: World) -> None:
    addresses = addresses_of_pages(world.owner, world.delivery)

    for name, roles in PAGES.items():
        address = addresses[name]
        answer = clerk.client.post(address) if name in POSTED else clerk.client.get(address)

        assert (answer.status_code != 403) == (clerk.role in roles), (name, answer.status_code)
        assert answer.status_code in {200, 302, 403}, (name, answer.status_code)


def addresses_of_pages(person: User, delivery: Delivery) -> dict[str, str]:
    """Return where each of the other pages is; of a skip, where it is about one."""
    campaign = Campaign.objects.earliest("pk").pk
    skip = Intervention.objects.create(
        kind="skip", receiver=delivery.receiver, size=1, asked_by="ada", reason="x"
    )
    places: dict[str, tuple[object, ...]] = {
        **{name: (delivery.receiver,) for name in PAGES if name.startswith("monitor-")},
        **dict.fromkeys(("monitor", "monitor-parts"), ()),
        **{name: (skip.pk,) for name in PAGES if name in OF_INTERVENTION},
        "support-person": (person.pk,),
        "support-event": (delivery.event_id,),
        "support-replay": (delivery.pk,),
        "support-skip": (delivery.pk,),
        "support-resume": (delivery.receiver,),
        "coupons_campaign_step": (campaign, "pause"),
        "coupons_campaign_stock": (campaign,),
        "coupons_campaign_issue": (campaign,),
        "coupons_campaign_figures": (campaign,),
        "simulate-person": (person.pk,),
        "points_pointsaccount_adjust": (PointsAccount.objects.earliest("pk").pk,),
        "auth_user_password_change": (person.pk,),
    }
    return {
        name: reverse(f"admin:{name}" if "_" in name else name, args=places.get(name, ()))
        for name in PAGES
    }


# --- Every action ---------------------------------------------------------------------------------


def test_each_list_offers_the_actions_of_the_role(clerk: Clerk) -> None:
    request = RequestFactory().get("/admin/")
    request.user = clerk.user

    for label, model in MODELS.items():
        if clerk.may_view(label):
            offered = set(admin.site._registry[model].get_actions(request))
            assert offered == ACTIONS[clerk.role].get(label, set()), label


def test_an_action_that_is_not_offered_does_nothing(clerk: Clerk, world: World) -> None:
    refer_to = Referral.objects.earliest("pk")
    chosen: dict[str, Any] = {
        "accounts.user": world.owner,
        "accounts.referral": refer_to,
        "events.delivery": world.delivery,
        "events.receiverstate": ReceiverState.objects.get(),
        "relay.endpoint": world.endpoint,
        "points.rewardrule": RewardRule.objects.earliest("pk"),
        "relay.parkedmessage": ParkedMessage.objects.get(),
    }
    every: dict[str, set[str]] = {}
    for actions in ACTIONS.values():
        for label, names in actions.items():
            every.setdefault(label, set()).update(names)

    for label, names in every.items():
        before = list(MODELS[label]._default_manager.order_by("pk").values())
        for name in names - ACTIONS[clerk.role].get(label, set()):
            data = {"action": name, "_selected_action": [str(chosen[label].pk)], "reason": "x"}
            clerk.client.post(page("changelist", label), data)
        assert list(MODELS[label]._default_manager.order_by("pk").values()) == before, label


def test_who_is_in_no_group_sees_nothing(client: Client) -> None:
    user = User.objects.create_user("new@example.com", "irrelevant", is_staff=True)
    client.force_login(user)

    for label in MODELS:
        assert client.get(page("changelist", label)).status_code == 403
    assert client.get(reverse("support-event", args=[uuid4()])).status_code == 403


def test_a_group_that_a_site_has_already_gets_no_rights_and_a_missing_one_is_made() -> None:
    Group.objects.all().delete()
    own = Group.objects.create(name="support")
    kept = Permission.objects.get(codename="view_user")
    own.permissions.add(kept)

    make_roles(apps)

    assert list(own.permissions.all()) == [kept]
    assert set(Group.objects.values_list("name", flat=True)) == set(ROLES)
    assert Group.objects.get(name="on-call").permissions.exists()
