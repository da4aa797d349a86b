"""Every page, in both languages, light and dark, narrow and wide: nobody is left out.

axe finds nothing serious, no policy is broken, nothing moves, scrolls sideways or weighs too much.
A picture of each is kept under `var/screenshots`.
"""

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from allauth.account.internal.flows.login import (
    _AUTHENTICATION_METHODS_USER_SESSION_KEY,
    AUTHENTICATION_METHODS_SESSION_KEY,
)
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page

from accounts.models import User
from accounts.names import set_name
from tests.accounts.factors import recovery_codes, set_up_app
from tests.conftest import Drain
from tests.faults.world import PASSWORD, open_campaign_and_rule, register
from tests.processes import web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

SCREENSHOTS = Path(settings.BASE_DIR, "var", "screenshots")
MAX_BYTES = 60_000  # over the wire, with everything
TABS = 6  # how often the focus is moved, and looked at
TERRIBLE = {"serious", "critical"}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 900}
# Each page is loaded in the first look of a language, and then looked at in the second, too.
LOOKS = {
    "en": (("light", WIDE), ("dark", NARROW)),
    "zh-hans": (("light", NARROW), ("dark", WIDE)),
}
# What goes wrong while a page is made: broken policies and things that moved.
WATCH = """
  window.broken = [];
  window.moved = 0;
  document.addEventListener("securitypolicyviolation", (event) => {
    window.broken.push(`${event.violatedDirective} ${event.blockedURI}`);
  });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.moved += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""
FOCUS = """() => {
  const style = getComputedStyle(document.activeElement);
  return document.activeElement === document.body
    || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
}"""

EVERYONE = {
    "landing": "/",
    "sign-up": "/accounts/signup/",
    "log-in": "/accounts/login/",
    "password-reset": "/accounts/password/reset/",
    "password-reset-done": "/accounts/password/reset/done/",
    "look-into-your-mailbox": "/accounts/confirm-email/",
    "bad-link": "/accounts/confirm-email/nonsense/",
    "bad-reset-link": "/accounts/password/reset/key/1-x-y/",
    "out-of-use": "/accounts/inactive/",
    "not-found": "/nowhere/",
    "terms": "/terms/",
}
OWN = {
    "wallet": "/wallet/",
    "account": "/accounts/",
    "name": "/accounts/name/",
    "addresses": "/accounts/email/",
    "password": "/accounts/password/change/",
    "close": "/accounts/close/",
    "log-out": "/accounts/logout/",
    "sessions": "/accounts/sessions/",
    "two-steps-off": "/accounts/2fa/",
    "app": "/accounts/2fa/totp/activate/",
    "passkeys": "/accounts/2fa/webauthn/",
    "passkey": "/accounts/2fa/webauthn/add/",
    "password-again": "/accounts/reauthenticate/",
}
SECURED = {
    "two-steps-on": "/accounts/2fa/",
    "codes": "/accounts/2fa/recovery-codes/",
    "new-codes": "/accounts/2fa/recovery-codes/generate/",
    "app-off": "/accounts/2fa/totp/deactivate/",
    "code-again": "/accounts/2fa/reauthenticate/",
}
OTHERS = ["/admin/coupons/campaign/add/", "/api/docs/"]  # of staff's pages see test_admin.py


@dataclass(frozen=True, slots=True)
class World:
    """Where Usher is served, and who is there."""

    address: str
    owner: User
    secured: User  # logs in with a second factor


@pytest.fixture
def world(drain: Drain) -> Iterator[World]:
    """Run Usher with somebody who has one of everything, and somebody with a second factor."""
    owner = open_campaign_and_rule(drain)
    set_name(user_id=owner.pk, name="Mei")  # whose invitation the refused sign-up is
    register("lin@example.com", owner)
    secured = register("amara@example.com")
    drain()
    EmailAddress.objects.update(verified=True)
    set_up_app(secured)
    recovery_codes(secured)
    somewhere = {"user": owner, "ip": "203.0.113.9", "session_key": _session_of(owner)}
    UserSession.objects.create(user_agent="Mozilla/5.0 (iPhone) Safari/604.1", **somewhere)
    with web_server() as address:
        yield World(address, owner, secured)


def _session_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return str(client.session.session_key)


def log_in(context: BrowserContext, address: str, user: User) -> None:
    """Log somebody in who was asked for the password a moment ago."""
    client = Client()
    client.force_login(user)
    session = client.session
    record = {"method": "password", "at": time.time(), "reauthenticated": True}
    session[AUTHENTICATION_METHODS_SESSION_KEY] = [record]
    session[_AUTHENTICATION_METHODS_USER_SESSION_KEY] = str(user.pk)
    session.save()
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": address}])


@pytest.mark.parametrize("language", LOOKS)
def test_every_page(world: World, browser: Browser, language: str) -> None:
    problems: list[str] = []

    for user, pages in ((None, EVERYONE), (world.owner, OWN), (world.secured, SECURED)):
        with opened(world, browser, language, user) as page:
            for name, path in pages.items():
                page.goto(path)
                problems += (f"{name}: {problem}" for problem in inspect(page, name, language))
    with opened(world, browser, language, None) as page:
        for name, open_form in FORMS.items():
            open_form(page, world)
            problems += (f"{name}: {problem}" for problem in inspect(page, name, language))

    assert problems == []


@contextmanager
def opened(world: World, browser: Browser, language: str, user: User | None) -> Iterator[Page]:
    """Open a browser's window as somebody, in the first look of a language."""
    (scheme, viewport), _ = LOOKS[language]
    context = browser.new_context(
        base_url=world.address,
        color_scheme=cast(Any, scheme),
        locale=language,
        reduced_motion="reduce",
        viewport=cast(Any, viewport),
    )
    if user is not None:
        log_in(context, world.address, user)
    context.add_init_script(WATCH)
    yield context.new_page()
    context.close()


def inspect(page: Page, name: str, language: str) -> Iterator[str]:
    """Keep pictures of the open page, and yield what is wrong with it."""
    yield from problems_of_loading(page)
    for scheme, viewport in LOOKS[language]:
        page.emulate_media(color_scheme=cast(Any, scheme))
        page.set_viewport_size(cast(Any, viewport))
        look = f"{language}-{scheme}-{viewport['width']}"
        page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
        yield from (f"{problem} ({look})" for problem in problems_of(page, language))
    for number in range(TABS):
        page.keyboard.press("Tab")
        if not page.evaluate(FOCUS):
            yield f"after {number + 1} tabs the focus can't be seen"


def refuse_sign_up(page: Page, world: World) -> None:
    """Follow an invite link, and send a form that is refused."""
    page.goto(f"/i/{world.owner.referral_code}/")
    page.locator("#id_email").fill("nonsense")
    page.locator("#id_password1").fill("short")
    page.locator("main form").first.locator("button[type=submit]").click()
    page.wait_for_selector(".errors")


def ask_for_code(page: Page, world: World) -> None:
    """Log in as somebody whose second factor is asked for."""
    page.goto("/accounts/login/")
    page.locator("#id_login").fill(world.secured.email)
    page.locator("#id_password").fill(PASSWORD)
    page.locator("main form").first.locator("button[type=submit]").click()
    page.wait_for_url("**/2fa/authenticate/**")


FORMS: dict[str, Callable[[Page, World], None]] = {
    "sign-up-refused": refuse_sign_up,
    "second-step": ask_for_code,
}


def problems_of_loading(page: Page) -> Iterator[str]:
    """Yield what went wrong while the page was made."""
    found = page.evaluate("() => ({broken, moved})")
    if found["broken"]:
        yield f"policies were broken: {found['broken']}"
    if found["moved"] > 0:
        yield f"things moved: {found['moved']:.3f}"
    if (weight := _weight_of(page)) > MAX_BYTES:
        yield f"it weighs {weight} bytes"


def problems_of(page: Page, language: str) -> Iterator[str]:
    """Yield what is wrong with the open page as it looks now."""
    yield from seen_by_axe(page)
    found = page.evaluate(
        "() => ({h1: document.querySelectorAll('h1').length, lang: document.documentElement.lang,"
        " wide: document.documentElement.scrollWidth - innerWidth})"
    )
    if found["h1"] != 1:
        yield f"{found['h1']} headings of the first level"
    if found["lang"] != language:
        yield f"it says that it is in {found['lang']!r}"
    if found["wide"] > 0:
        yield f"it scrolls sideways, by {found['wide']} px"


def seen_by_axe(page: Page) -> Iterator[str]:
    """Yield what axe finds that keeps people out."""
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] in TERRIBLE:
            places = [node["html"][:120] for node in violation["nodes"][:3]]
            yield f"{violation['id']}: {violation['help']} {places}"


def _weight_of(page: Page) -> int:
    """Return what an empty browser loads, with files compressed as production serves them."""
    loaded = page.evaluate(
        "() => performance.getEntries().filter(entry => 'encodedBodySize' in entry)"
        ".map(entry => [entry.name, entry.encodedBodySize])"
    )
    return sum(_wire_size(url, size) for url, size in loaded)


def _wire_size(url: str, size: int) -> int:
    path = urlsplit(url).path
    if not path.startswith("/static/"):
        return size
    found = finders.find(path.removeprefix("/static/"))
    assert isinstance(found, str), url
    return min(size, len(gzip.compress(Path(found).read_bytes())))


def test_the_admin_and_the_documentation_break_no_policy(world: World, page: Page) -> None:
    staff = User.objects.create_superuser("staff@example.com", PASSWORD)
    log_in(page.context, world.address, staff)
    page.add_init_script(WATCH)
    broken: dict[str, list[str]] = {}

    for path in OTHERS:
        address = f"{world.address}{path.format(owner=world.owner.pk)}"
        answer = page.goto(address, wait_until="networkidle")
        assert answer
        assert answer.ok, address
        broken[path] = page.evaluate("broken")

    assert broken == {path: [] for path in OTHERS}


def test_a_page_may_open_a_socket_to_where_it_comes_from_and_to_nowhere_else(
    world: World, page: Page
) -> None:
    page.add_init_script(WATCH)
    page.goto(world.address)

    for url in (world.address.replace("http", "ws") + "/ws/live/", "ws://127.0.0.1:1/"):
        page.evaluate(
            "url => new Promise(over => { try { new WebSocket(url).onerror = over; }"
            " catch { over(); } }).then(() => new Promise(r => setTimeout(r)))",
            url,
        )

    assert page.evaluate("broken") == ["connect-src ws://127.0.0.1:1/"]
