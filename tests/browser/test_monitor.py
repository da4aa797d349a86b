"""Somebody on call sees deliveries die, replays them too early, and once more after the mend."""

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.contrib.auth.models import Group
from playwright.sync_api import Page, expect

from accounts.models import User
from accounts.services import register
from coupons.models import Coupon
from coupons.queries import WELCOME_RECEIVER
from events.models import Delivery, DeliveryState
from project.roles import make_roles
from tests.browser.test_support import fill_in_permissions
from tests.conftest import Drain
from tests.faults.world import PASSWORD, open_campaign_and_rule
from tests.probe.models import Fault
from tests.probe.sabotage import COUPONS, SABOTAGE
from tests.processes import web_server, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


@pytest.fixture
def on_call() -> User:
    """Return somebody who is on call."""
    fill_in_permissions()
    make_roles(apps)
    user = User.objects.create_user("oncall@example.com", PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="on-call"))
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user


@pytest.fixture
def monitor(drain: Drain, on_call: User, page: Page) -> Iterator[Page]:
    """Serve Usher with coupons that fail, log in, and open the monitor."""
    open_campaign_and_rule(drain)
    Fault.objects.create(number=COUPONS, kind="permanent")
    with web_server() as address, worker("coupons", **{SABOTAGE: "1"}):
        page.goto(f"{address}/admin/monitor/")
        page.get_by_label("E-mail address").fill(on_call.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("main").get_by_role("button", name="Log in", exact=True).click()
        expect(page.get_by_text("Nothing fails.")).to_be_visible()
        yield page


def test_the_first_fails_again_and_stops_the_rest_until_the_cause_is_mended(
    monitor: Page,
) -> None:
    page = monitor
    people = [
        register(email=f"{name}@example.com", password=PASSWORD).user for name in ("lin", "mo")
    ]

    group = page.get_by_role("region", name="What fails, by cause")
    expect(group.get_by_role("row").filter(has_text=WELCOME_RECEIVER)).to_contain_text("2")
    group.get_by_role("link", name="PermanentFailure: never").click()  # the page showed it itself
    page.get_by_label("Reason").fill("I think it is mended")
    page.get_by_role("button", name="Replay").click()

    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text("It stopped, because one failed again")
    expect(progress).to_contain_text("1 of 2")
    expect(progress).to_contain_text("PermanentFailure: never")

    Fault.objects.all().delete()
    progress.get_by_label("Reason").fill("Now it is")
    progress.get_by_role("button", name="Go on anyway").click()
    expect(progress).to_contain_text("through")
    expect(progress).to_contain_text("done: 1")

    page.get_by_role("link", name="Event monitor", exact=True).first.click()
    group.get_by_role("link", name="PermanentFailure: never").click()  # the one that failed again
    page.get_by_label("Reason").fill("The one that was too early")
    page.get_by_role("button", name="Replay").click()
    expect(progress).to_contain_text("through")

    assert Coupon.objects.filter(user__in=people).count() == 2
    assert not Delivery.objects.filter(state=DeliveryState.DEAD).exists()
