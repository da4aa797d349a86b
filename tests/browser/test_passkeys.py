"""A passkey of a virtual device is added, and logs in alone and as the second step."""

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from playwright.sync_api import Page, expect

from accounts.models import User
from tests.browser.test_every_page import WATCH, log_in
from tests.faults.world import PASSWORD, register
from tests.processes import web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def address() -> Iterator[str]:
    """Run Usher; return its address by name: passkeys belong to names, not to numbers."""
    with web_server() as served_at:
        yield served_at.replace("127.0.0.1", "localhost")


@pytest.fixture
def mei() -> User:
    """Return somebody with a confirmed address."""
    user: User = register("mei@example.com")
    EmailAddress.objects.update(verified=True)
    return user


def test_a_passkey_logs_in_alone_and_as_the_second_step(
    address: str, page: Page, mei: User
) -> None:
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    page.add_init_script(WATCH)
    log_in(page.context, address, mei)

    page.goto(f"{address}/accounts/2fa/webauthn/add/")
    page.get_by_label("Name of the passkey").fill("My phone")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    kinds = set(Authenticator.objects.values_list("type", flat=True))
    assert kinds == {"webauthn", "recovery_codes"}

    page.get_by_role("button", name="Log out").click()
    page.goto(f"{address}/accounts/login/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page).to_have_url(f"{address}/wallet/")
    assert page.evaluate("broken") == []

    page.get_by_role("button", name="Log out").click()
    page.goto(f"{address}/accounts/login/")
    page.get_by_label("E-mail address").fill("mei@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(f"{address}/wallet/")


def test_without_a_passkey_on_the_device_a_sentence_says_so(address: str, page: Page) -> None:
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    page.goto(f"{address}/accounts/login/")

    page.get_by_role("button", name="Log in with a passkey").click()

    expect(page.get_by_text("That did not work.")).to_be_visible()
