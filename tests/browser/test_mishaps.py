"""Clicks too many, Back, and a server that restarts under an open form: one account, no riddle."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from accounts.models import User
from tests.faults.world import PASSWORD
from tests.processes import web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


@pytest.fixture
def address() -> Iterator[str]:
    """Run Usher; return its address."""
    with web_server() as served_at:
        yield served_at


def fill_in(page: Page, address: str) -> None:
    """Open the sign-up and type what it asks for."""
    page.goto(f"{address}/accounts/signup/")
    page.get_by_label("E-mail address").fill("mei@example.com")
    page.get_by_label("Password").fill(PASSWORD)


def test_many_clicks_and_back_make_one_account(address: str, page: Page) -> None:
    fill_in(page, address)
    button = page.get_by_role("main").get_by_role("button", name="Sign up")

    button.click(click_count=3)
    expect(page).to_have_url(f"{address}/wallet/")
    page.go_back()

    expect(page).to_have_url(re.compile("wallet|signup"))
    page.goto(f"{address}/accounts/signup/")
    expect(page).to_have_url(f"{address}/wallet/")
    assert User.objects.count() == 1


def test_many_clicks_without_javascript_make_one_account_too(
    address: str, browser: Browser
) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    fill_in(page, address)
    button = page.get_by_role("main").get_by_role("button", name="Sign up")

    button.click(click_count=3)

    expect(page).to_have_url(f"{address}/wallet/")
    assert User.objects.count() == 1


def test_a_slow_answer_is_spoken_of_and_a_second_click_sends_nothing_for_a_while(
    address: str, page: Page
) -> None:
    page.clock.install()
    fill_in(page, address)
    sent: list[Route] = []

    def answer_nothing(route: Route) -> None:
        sent.append(route)
        route.fulfill(status=204)  # so that the page stays, as while an answer is waited for

    page.route("**/accounts/signup/", answer_nothing)
    button = page.get_by_role("main").get_by_role("button", name="Sign up")

    button.click()
    page.clock.fast_forward(5_000)
    expect(page.get_by_text("Still sending.")).to_be_visible()
    button.click()
    assert len(sent) == 1

    page.clock.fast_forward(20_000)
    expect(page.get_by_text("Still sending.")).to_be_hidden()
    button.click()
    assert len(sent) == 2


def test_a_server_that_restarts_while_a_form_is_open_takes_it_afterwards(page: Page) -> None:
    with web_server() as address:
        fill_in(page, address)

    with web_server(PORT=address.rpartition(":")[2]):
        page.get_by_role("main").get_by_role("button", name="Sign up").click()
        expect(page).to_have_url(f"{address}/wallet/")

    assert User.objects.count() == 1
