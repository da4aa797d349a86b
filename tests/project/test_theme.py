"""The admin's theme: who sees what in the sidebar, its texts, and nothing written into pages."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import unfold
from babel.messages.extract import extract
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.translation import gettext, override
from django.utils.translation.template import templatize
from unfold.admin import ModelAdmin

from accounts.models import User
from project.navigation import GROUPS, Listing, Page, sidebar
from project.roles import make_roles
from project.theme_texts import TEXTS
from tests.project.test_translations import CHINESE, KEYWORDS
from tests.staff_rows import WRITTEN, make_rows

pytestmark = pytest.mark.django_db

# Parts of unfold that no page of ours has.
UNUSED = (
    "contrib/",
    "mixins/dataset",
    "mixins/nested",
    "templates/admin/auth/user/add_form.html",
    "templates/admin/login.html",  # people log in on the page of everybody
    "templates/unfold/helpers/command",
    "templates/unfold/helpers/display_header",
    "templates/unfold/helpers/field_readonly_value_file",
    "templates/unfold/helpers/pagination_infinite",
    "templates/unfold/helpers/search",
    "templates/unfold/widgets/clearable",
    "templates/unfold_crispy/",
    "widgets.py",
)


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser that a superuser is logged in with."""
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    return client


def test_every_admin_is_unfolds_and_in_the_sidebar_once() -> None:
    listed = [
        entry.model for group in GROUPS for entry in group.entries if isinstance(entry, Listing)
    ]
    registered = {model._meta.label_lower: each for model, each in admin.site._registry.items()}

    assert sorted(listed) == sorted(registered)
    assert [label for label, each in registered.items() if not isinstance(each, ModelAdmin)] == []


@pytest.mark.parametrize(
    ("role", "first"),
    [("marketing", "Campaigns"), ("support", "Support"), ("on-call", "Events")],
)
def test_roles_see_what_they_do_and_nothing_else(role: str, first: str) -> None:
    make_roles(apps)
    clerk = User.objects.create_user("clerk@example.com", "irrelevant", is_staff=True)
    clerk.groups.add(Group.objects.get(name=role))
    request = RequestFactory().get("/admin/")
    request.user = clerk

    shown = {str(item["title"]): item for group in sidebar(request) for item in group["items"]}

    assert first in shown
    assert "Groups" not in shown
    assert ("Support" in shown) == (role != "marketing")
    assert ("Endpoints" in shown) == (role == "on-call")


def test_who_has_no_role_sees_the_front_page_alone(client: Client) -> None:
    client.force_login(User.objects.create_user("new@example.com", "irrelevant", is_staff=True))

    page = client.get("/admin/")

    assert [len(group["items"]) for group in page.context["sidebar_navigation"]] == [1]
    assert "You don’t have permission to view or edit anything." in page.text


def test_the_sidebar_says_where_one_is(staff: Client) -> None:
    page = staff.get("/admin/coupons/campaign/add/")

    active = [
        item["title"]
        for group in page.context["sidebar_navigation"]
        for item in group["items"]
        if item["active"]
    ]
    assert active == ["Campaigns"]


@pytest.mark.parametrize(
    "label",
    ["events.event", "coupons.campaign", "accounts.user", "auth.group", "relay.endpoint"],
)
def test_nothing_is_written_into_forms_that_the_policy_refuses(staff: Client, label: str) -> None:
    make_rows(1)
    model = apps.get_model(label)
    row = model._default_manager.order_by("pk").last()

    page = staff.get(reverse(f"admin:{label.replace('.', '_')}_change", args=[row.pk]))

    assert page.status_code == 200
    assert WRITTEN.findall(page.text) == []


def test_nothing_is_written_into_our_own_pages_either(staff: Client) -> None:
    pages = [entry.name for group in GROUPS for entry in group.entries if isinstance(entry, Page)]

    for address in ("/admin/", "/admin/password_change/", *map(reverse, pages)):
        assert WRITTEN.findall(staff.get(address).text) == [], address


def test_every_text_of_unfold_is_translated_by_django_or_by_us() -> None:
    with override("zh-hans"):
        untold = {text for text in texts_of_unfold() if not CHINESE.search(gettext(text))}

    assert untold <= set(TEXTS)


def texts_of_unfold() -> Iterator[str]:
    """Yield what the parts of unfold that are used mark for translation."""
    root = Path(unfold.__file__).parent
    for source in root.rglob("*"):
        name = str(source.relative_to(root))
        if source.suffix not in {".py", ".html"} or name.startswith(UNUSED):
            continue
        text = source.read_text()
        if source.suffix == ".html":
            text = "\n".join(line.strip() for line in templatize(text).splitlines())
        for _line, message, _comments, _context in extract(
            "python", BytesIO(text.encode()), KEYWORDS, options={"encoding": "utf-8"}
        ):
            yield message if isinstance(message, str) else message[0]
