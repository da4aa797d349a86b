"""An open wallet shows what happens while somebody looks at it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, Request, expect

from accounts.models import User
from coupons.signals import CouponIssued, coupon_issued
from tests.browser.test_journey import (
    ARRIVAL_TIMEOUT_MS,
    a_coupon_arrives,
    look_again_until_nothing_is_on_its_way,
    sign_up,
)
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_coupon
from tests.faults.world import open_campaign_and_rule, register
from tests.processes import wait_until, web_server, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

NewContext = Callable[..., BrowserContext]
QUEUES = ("coupons", "points")
ON_ITS_WAY = "Your welcome coupon is on its way."
LATE = "This takes longer than usual."
PARTS = "/wallet/parts/"
MINUTE_MS = 60_000

# How far parts of the page have moved by themselves, and whether it was loaded again.
WATCH = """
window.sameDocument = true;
window.moved = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.moved += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture
def address(drain: Drain) -> Iterator[str]:
    """Run the web server, without a worker, with a campaign and a reward rule."""
    open_campaign_and_rule(drain)
    with web_server() as served_at:
        yield served_at


def watch(page: Page) -> None:
    """Notice from now on when the page moves or is loaded again."""
    page.evaluate(WATCH)


def test_a_coupon_arrives_in_an_open_wallet_once_a_worker_is_back(address: str, page: Page) -> None:
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    expect(page.get_by_text(ON_ITS_WAY)).to_be_visible()
    watch(page)

    with worker(*QUEUES):
        a_coupon_arrives(page)

    expect(page.get_by_text(ON_ITS_WAY)).to_have_count(0)
    expect(page.locator("#news")).to_have_text("A coupon has arrived: 5.00 EUR off.")
    assert page.evaluate("window.sameDocument")
    assert page.evaluate("window.moved") < 0.01


def test_an_inviter_sees_a_friend_sign_up_and_the_points_arrive_when_a_worker_is_back(
    address: str, page: Page, new_context: NewContext
) -> None:
    with worker(*QUEUES):
        sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
        a_coupon_arrives(page)
    points = page.locator("#wallet-points")
    link = page.get_by_label("Your invite link").input_value()
    watch(page)
    friend = new_context().new_page()

    friend.goto(f"{address}/i/{link.partition('/i/')[2]}")
    sign_up(friend, friend.url, "lin@example.com")

    expect(points).to_contain_text("1 person signed up", timeout=ARRIVAL_TIMEOUT_MS)
    expect(page.locator("#wallet-invited tbody tr")).to_have_count(1)
    expect(page.locator("#news")).to_have_text("Somebody signed up through your link.")
    with worker(*QUEUES):
        expect(points).not_to_contain_text("signed up", timeout=ARRIVAL_TIMEOUT_MS)
        a_coupon_arrives(friend)
    expect(points.locator(".balance")).to_have_text("100 points")
    expect(page.locator("#news")).to_have_text("Your balance is 100 points now.")
    assert page.evaluate("window.sameDocument")


def test_what_takes_more_than_ten_seconds_is_said_to_be_late_and_not_lost(
    address: str, page: Page
) -> None:
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    waiting = page.get_by_role("status").filter(has_text=ON_ITS_WAY)
    expect(waiting).to_be_visible()
    expect(waiting).not_to_contain_text(LATE)
    watch(page)

    seconds_ago = timezone.now() - timedelta(seconds=10)
    User.objects.filter(email="mei@example.com").update(registered_at=seconds_ago)

    expect(waiting).to_contain_text(LATE, timeout=ARRIVAL_TIMEOUT_MS)
    expect(waiting).to_contain_text("It is not lost")
    assert page.evaluate("window.moved") < 0.01
    with worker(*QUEUES):
        a_coupon_arrives(page)


def test_without_javascript_a_link_shows_what_has_arrived(
    address: str, new_context: NewContext
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    link = page.get_by_role("link", name="Look again")
    expect(link).to_be_visible()
    expect(page.get_by_text("This page looks again by itself.")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy the link")).to_be_hidden()

    with worker(*QUEUES):
        look_again_until_nothing_is_on_its_way(page)

    expect(page.get_by_role("listitem").filter(has_text="Welcome")).to_have_count(1)


def test_the_focus_and_what_is_selected_stay_where_they_are(
    address: str, page: Page, drain: Drain
) -> None:
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    drain()
    a_coupon_arrives(page)
    button = page.get_by_role("button", name="Copy the code")
    code = page.locator(".code").inner_text()
    button.focus()
    watch(page)

    issue_another("mei@example.com")

    expect(page.get_by_role("listitem")).to_have_count(2, timeout=ARRIVAL_TIMEOUT_MS)
    expect(page.locator("#news")).to_have_text("A coupon has arrived: 10% off.")
    focused = page.evaluate("document.activeElement.dataset.copy")
    assert focused == f"code-{code}"
    assert page.evaluate("window.sameDocument")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.dataset.copy") == focused
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the code").first.click()  # one that came later
    expect(page.locator("#said")).to_have_text("The code is copied.")
    assert page.evaluate("navigator.clipboard.readText()") != code


def issue_another(email: str) -> None:
    """Give somebody a coupon of another campaign."""
    user = User.objects.get(email=email)
    coupon = make_coupon(make_campaign(name="Thanks"), user)
    issued = CouponIssued(coupon_id=coupon.pk, campaign_id=coupon.campaign_id, user_id=user.pk)
    with transaction.atomic():
        coupon_issued.publish(issued)


def test_a_page_with_a_socket_asks_seldom(address: str, page: Page, drain: Drain) -> None:
    page.clock.install()
    have_a_coupon(address, page, drain)
    page.reload()  # a new socket is told nothing of what was there before
    wait_until(lambda: is_open(page) and is_at_rest(page))
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if PARTS in request.url else None)

    page.clock.fast_forward(MINUTE_MS)
    page.evaluate("fetch('/livez')")  # what was asked before has been told of when this has

    assert not asked


def test_a_page_whose_sockets_are_closed_again_and_again_asks_each_minute(
    address: str, page: Page, drain: Drain
) -> None:
    page.clock.install()
    page.route_web_socket("**/ws/live/", lambda socket: socket.close())
    have_a_coupon(address, page, drain)
    wait_until(lambda: is_at_rest(page))
    attempts = page.evaluate("attempts")

    # The clock runs on by itself: what is put off to the next minute comes after a while too.
    with page.expect_request(f"**{PARTS}*", timeout=14_000):
        page.clock.fast_forward(MINUTE_MS // 2)
        wait_until(lambda: page.evaluate("attempts") > attempts)
        page.clock.fast_forward(MINUTE_MS // 2)


def test_a_hidden_page_that_is_told_of_something_asks_whenever_its_next_look_was_due(
    address: str, page: Page, drain: Drain
) -> None:
    have_a_coupon(address, page, drain)
    page.reload()
    wait_until(lambda: is_open(page) and is_at_rest(page))
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")

    for planned_in_ms in (300_000, 10, -10):
        with page.expect_request(f"**{PARTS}*"):
            page.evaluate("due => { lookIn(due, lookIfSeen); lookSoon(); }", planned_in_ms)
        wait_until(lambda: is_at_rest(page))


def have_a_coupon(address: str, page: Page, drain: Drain) -> None:
    """Sign up and look at a wallet where nothing more is on its way."""
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    drain()
    a_coupon_arrives(page)
    expect(page.get_by_text(ON_ITS_WAY)).to_have_count(0)


def is_open(page: Page) -> bool:
    """Tell whether a page has a socket."""
    return bool(page.evaluate("socket.readyState === WebSocket.OPEN"))


def is_at_rest(page: Page) -> bool:
    """Tell whether a page neither asks nor is about to, for half a minute."""
    return bool(page.evaluate("!isLooking && !lookAgain && plannedInMs() > 30_000"))


def test_a_wallet_follows_its_person_out(address: str, page: Page) -> None:
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    other = page.context.new_page()
    other.goto(f"{address}/wallet/")
    wait_until(lambda: page.evaluate("performance.now() > 3000"))

    other.get_by_role("button", name="Log out").click()

    expect(page).to_have_url(f"{address}/accounts/login/?next=/wallet/", timeout=ARRIVAL_TIMEOUT_MS)


def test_a_server_that_is_away_is_said_to_be_and_the_page_goes_on_by_itself(
    drain: Drain, page: Page
) -> None:
    inviter = open_campaign_and_rule(drain)
    with ExitStack() as first:
        address = first.enter_context(web_server())
        sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
        watch(page)
    away = page.locator("#unreachable")
    expect(away).to_contain_text("cannot be reached", timeout=ARRIVAL_TIMEOUT_MS)

    register("lin@example.com", inviter)
    drain()
    with web_server(PORT=address.rpartition(":")[2]):
        a_coupon_arrives(page)
        expect(away).to_be_empty()

    assert page.evaluate("window.sameDocument")
