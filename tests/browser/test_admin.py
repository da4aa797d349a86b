"""The admin in a browser: under its policy it works, fits narrow and wide, and shuts nobody out."""

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from accounts.models import User
from coupons.models import Campaign
from events.models import Delivery, Event
from tests.browser.test_every_page import NARROW, WATCH, WIDE, log_in, seen_by_axe
from tests.processes import web_server
from tests.project.test_roles import PAGES, POSTED, addresses_of_pages
from tests.staff_rows import make_rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

# Django's own: a script of its writes a label where none may be.
NOT_OURS = ("help-tooltip",)
NO_PAGES = {"coupons_campaign_export", "auth_user_password_change"}  # a file; all may not
# What scrolls sideways, but for tables that say so and that the keyboard reaches.
CUT_OFF = """() => [document.scrollingElement, ...document.querySelectorAll("*")]
  .filter(each => each === document.scrollingElement
    || ["auto", "scroll"].includes(getComputedStyle(each).overflowX))
  .filter(each => each.clientWidth && each.scrollWidth > each.clientWidth + 1)
  .filter(each => each.getAttribute("role") !== "region" || each.tabIndex !== 0)
  .map(each => each.className)"""


@pytest.fixture
def staff() -> User:
    """Return a superuser, beside three rows of everything."""
    ContentType.objects.clear_cache()  # tables are emptied of these, too
    make_rows(3)
    return User.objects.create_superuser("staff@example.com", "irrelevant here")


@pytest.fixture
def window(staff: User, browser: Browser) -> Iterator[Page]:
    """Serve Usher, and log a superuser in."""
    with web_server() as address:
        context = browser.new_context(base_url=address, viewport=cast(Any, WIDE))
        log_in(context, address, staff)
        context.add_init_script(WATCH)
        yield context.new_page()
        context.close()


def listings() -> list[str]:
    models = [model._meta for model in admin.site._registry]
    return [reverse(f"admin:{each.app_label}_{each.model_name}_changelist") for each in models]


def own_pages() -> list[str]:
    delivery = Delivery.objects.latest("pk")
    addresses = addresses_of_pages(User.objects.get(pk=delivery.key), delivery)
    names = [name for name in PAGES if not name.endswith("-parts")]
    return [addresses[name] for name in names if name not in POSTED | NO_PAGES]


def test_every_list_and_page_fits_and_breaks_no_policy(window: Page) -> None:
    errors: list[str] = []
    window.on("pageerror", lambda error: errors.append(str(error)))
    wrong: dict[str, Any] = {}

    for path in [*listings(), *own_pages()]:
        window.set_viewport_size(cast(Any, WIDE))
        window.goto(path)
        found = [*window.evaluate("broken"), *window.evaluate(CUT_OFF)]
        window.set_viewport_size(cast(Any, NARROW))
        found += window.evaluate(CUT_OFF)
        if found:
            wrong[path] = found

    assert (wrong, errors) == ({}, [])


def test_pages_of_staff_shut_nobody_out(window: Page) -> None:
    campaign, event = Campaign.objects.latest("pk"), Event.objects.latest("position")
    person = User.objects.get(pk=event.key)
    paths = [
        "/admin/",
        reverse("admin:events_delivery_changelist"),
        reverse("admin:coupons_campaign_change", args=[campaign.pk]),
        reverse("admin:coupons_campaign_stock", args=[campaign.pk]),
        reverse("admin:accounts_user_change", args=[person.pk]),
        reverse("admin:coupons_campaign_figures", args=[campaign.pk]),
        reverse("admin:coupons_campaign_import"),
        reverse("simulate-person", args=[person.pk]),
        reverse("support-person", args=[person.pk]),
        reverse("event-catalogue"),
    ]
    wrong: list[str] = []

    for scheme, viewport in (("light", WIDE), ("dark", NARROW)):
        window.emulate_media(color_scheme=cast(Any, scheme))
        window.set_viewport_size(cast(Any, viewport))
        for path in paths:
            window.goto(path)
            found = [*seen_by_axe(window), *window.evaluate("broken"), *window.evaluate(CUT_OFF)]
            ours = (each for each in found if not any(mark in each for mark in NOT_OURS))
            wrong += (f"{path} ({scheme}): {each}" for each in ours)

    assert wrong == []


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_preview_of_a_campaign_file_breaks_no_name_letter_by_letter(
    window: Page, language: str
) -> None:
    campaign = Campaign.objects.latest("pk")
    file = f"id,name,terms\n{campaign.pk},Mittwinterfest,{'All of the terms. ' * 20}\n"
    window.set_extra_http_headers({"Accept-Language": language})
    window.set_viewport_size(cast(Any, NARROW))
    window.goto(reverse("admin:coupons_campaign_import"))
    as_csv: Any = {"name": "a.csv", "mimeType": "text/csv", "buffer": file.encode()}
    window.set_input_files("input[type=file]", as_csv)

    window.locator(".submit-row input[type=submit]").click()

    name = window.locator("tbody td").first
    expect(name).to_have_text("Mittwinterfest")
    assert name.evaluate("cell => cell.clientWidth") > 80
    assert window.evaluate(CUT_OFF) == []


def test_what_scripts_do_works_without_evaluating_text(window: Page) -> None:
    window.goto(reverse("admin:events_delivery_changelist"))

    window.locator("a", has_text="Filters").click()
    receiver = Delivery.objects.latest("pk").receiver
    window.get_by_role("link", name=receiver).click()
    expect(window).to_have_url(re.compile(f"receiver={re.escape(receiver)}"))

    window.locator(".action-select").first.check()
    window.get_by_label("Select action to run").select_option("skip")
    window.get_by_role("button", name="Run").click()
    expect(window.get_by_label("Reason")).to_be_visible()

    sidebar = window.get_by_role("link", name="Endpoints")
    expect(sidebar).to_be_visible()
    window.get_by_role("button", name="Show or hide the menu").click()
    expect(sidebar).to_be_hidden()
    window.get_by_role("button", name="Show or hide the menu").click()

    window.get_by_text("staff@example.com").first.click()
    window.get_by_text("Dark", exact=True).click()
    window.reload()
    assert "dark" in str(window.locator("html").get_attribute("class"))
    assert window.evaluate("broken") == []
