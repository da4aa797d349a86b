"""A member of support is told "I got no coupon", finds out why, and mends it, in a browser."""

from collections.abc import Callable, Iterator

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from playwright.sync_api import Locator, Page, expect

from accounts.models import User
from accounts.services import register
from coupons.models import Coupon
from coupons.queries import WELCOME_RECEIVER
from events.models import Delivery, DeliveryState
from project.roles import make_roles
from tests.conftest import Drain
from tests.faults.world import PASSWORD, open_campaign_and_rule
from tests.processes import web_server, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

ARRIVAL_TIMEOUT_MS = 30_000  # a hang, not a target
MOST_CLICKS = 5  # from the admin's front page

Click = Callable[[Locator], None]


@pytest.fixture
def unlucky(drain: Drain) -> User:
    """Return somebody whose coupon is a dead delivery; the disk has room again meanwhile."""
    open_campaign_and_rule(drain)
    user = register(email="li@example.com", password=PASSWORD).user
    owed = Delivery.objects.filter(key=str(user.pk), receiver=WELCOME_RECEIVER)
    owed.update(state=DeliveryState.DEAD, due_at=None, attempts=16, last_error="OSError: disk full")
    drain()
    return user


@pytest.fixture
def clerk() -> User:
    """Return a member of support."""
    fill_in_permissions()
    make_roles(apps)
    clerk = User.objects.create_user("clerk@example.com", PASSWORD, is_staff=True)
    clerk.groups.add(Group.objects.get(name="support"))
    EmailAddress.objects.create(user=clerk, email=clerk.email, primary=True, verified=True)
    return clerk


def fill_in_permissions() -> None:
    """Make what migrations make: beside Playwright's event loop tables are emptied of that too."""
    ContentType.objects.clear_cache()
    for app_config in apps.get_app_configs():
        create_permissions(app_config, verbosity=0)


@pytest.fixture
def front_page(unlucky: User, clerk: User, page: Page) -> Iterator[Page]:
    """Serve Usher, log in, and open the admin's front page."""
    with web_server() as address, worker("coupons", "mails", "relay"):
        page.goto(f"{address}/admin/")
        page.get_by_label("E-mail address").fill(clerk.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("main").get_by_role("button", name="Log in", exact=True).click()
        expect(page).to_have_url(f"{address}/admin/")
        yield page


def test_support_finds_the_dead_coupon_and_sees_it_arrive(
    front_page: Page, unlucky: User, clerk: User
) -> None:
    page, clicks = front_page, 0

    def click(target: Locator) -> None:
        nonlocal clicks
        clicks += 1
        target.click()

    click(page.get_by_role("link", name="Support", exact=True))
    page.get_by_label("E-mail address").fill(" LI@example.com")
    click(page.get_by_role("button", name="Look up"))

    verdict = page.get_by_role("region").filter(has_text=WELCOME_RECEIVER)
    expect(verdict).to_contain_text("is dead after 16 attempts")
    expect(verdict).to_contain_text("OSError: disk full")

    verdict.get_by_label("Reason").fill("There is room on the disk again")
    click(verdict.get_by_role("button", name="Replay"))

    arrived = page.get_by_text("There is a coupon of campaign “Welcome”")
    expect(arrived.first).to_be_visible(timeout=ARRIVAL_TIMEOUT_MS)  # the page looks again itself
    sound = page.get_by_role("heading", name="Nothing is late")
    expect(sound).to_be_visible(timeout=ARRIVAL_TIMEOUT_MS)  # what follows is delivered, too
    assert clicks <= MOST_CLICKS
    assert Coupon.objects.filter(user=unlucky).count() == 1
    entry = LogEntry.objects.get()
    assert (entry.user, entry.get_change_message()) == (
        clerk,
        "Replayed: There is room on the disk again",
    )
