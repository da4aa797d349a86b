"""Two people sign up in a browser, the second through the first one's invite link."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.conftest import Drain
from tests.faults.world import PASSWORD, open_campaign_and_rule
from tests.processes import web_server, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

NewContext = Callable[..., BrowserContext]
ARRIVAL_TIMEOUT_MS = 30_000  # a hang, not a target: benchmarks/signup_to_wallet.py has the figures


@pytest.fixture
def address(drain: Drain) -> Iterator[str]:
    """Run Usher with a campaign and a reward rule; return its address."""
    open_campaign_and_rule(drain)
    with web_server() as served_at, worker("coupons", "points"):
        yield served_at


def sign_up(page: Page, url: str, email: str) -> None:
    """Fill in the form as a person does."""
    page.goto(url)
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign up").click()
    expect(page).to_have_url(f"{url.split('/', 3)[0]}//{url.split('/', 3)[2]}/wallet/")


def a_coupon_arrives(page: Page) -> None:
    """Wait until the open wallet shows the welcome coupon, by itself."""
    welcome = page.get_by_role("listitem").filter(has_text="Welcome")
    expect(welcome).to_have_count(1, timeout=ARRIVAL_TIMEOUT_MS)


def look_again_until_nothing_is_on_its_way(page: Page) -> None:
    """Follow the link that a wallet has for people without JavaScript."""
    page.wait_for_load_state()  # a page that has just been gone to has no links yet
    link = page.get_by_role("link", name="Look again")
    while link.count():
        with page.expect_navigation():
            link.click()


def test_coupons_reach_both_wallets_and_points_the_inviters(
    address: str, page: Page, new_context: NewContext
) -> None:
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    a_coupon_arrives(page)
    invite_link = page.get_by_label("Your invite link").input_value()
    invite_path = invite_link.split("/i/")[1]

    friend = new_context().new_page()
    sign_up_by_invitation(friend, f"{address}/i/{invite_path}", "lin@example.com")
    a_coupon_arrives(friend)

    points = page.get_by_role("region", name="Points", exact=True)
    expect(points).to_contain_text("100", timeout=ARRIVAL_TIMEOUT_MS)


def sign_up_by_invitation(page: Page, link: str, email: str) -> None:
    """Follow an invite link: the form has the inviter's code filled in."""
    page.goto(link)
    expect(page).to_have_url(f"{link.partition('/i/')[0]}/accounts/signup/")
    expect(page.get_by_label("Invitation code")).not_to_have_value("")
    sign_up(page, page.url, email)


def test_the_journey_works_without_javascript(address: str, new_context: NewContext) -> None:
    page = new_context(java_script_enabled=False).new_page()

    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")

    look_again_until_nothing_is_on_its_way(page)
    a_coupon_arrives(page)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_a_refused_form_keeps_what_was_typed(address: str, page: Page) -> None:
    page.goto(f"{address}/accounts/signup/")
    page.get_by_label("E-mail address").fill("mei@example.com")
    page.get_by_label("Password").fill("short")
    page.get_by_role("main").get_by_role("button", name="Sign up").click()

    expect(page.get_by_label("E-mail address")).to_have_value("mei@example.com")
    expect(page.get_by_label("Password")).to_have_attribute("aria-invalid", "true")


def test_the_invite_link_and_a_code_are_copied_and_that_is_announced(
    address: str, page: Page
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_up(page, f"{address}/accounts/signup/", "mei@example.com")
    a_coupon_arrives(page)

    page.get_by_role("button", name="Copy the link").click()

    expect(page.locator("#said")).to_have_text("The link is copied.")
    link = page.get_by_label("Your invite link").input_value()
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.get_by_role("button", name="Copy the code").click()
    expect(page.locator("#said")).to_have_text("The code is copied.")
    assert page.evaluate("navigator.clipboard.readText()") in page.content()
