"""Every page: readable for people and for their tools, and safe to show."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.coupons.factories import make_campaign
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

ANONYMOUS = ["/", "/accounts/signup/", "/accounts/login/", "/accounts/password/reset/"]
ANONYMOUS += ["/accounts/password/reset/done/", "/accounts/confirm-email/", "/accounts/inactive/"]
LOGGED_IN = ["/", "/wallet/", "/accounts/email/", "/accounts/logout/", "/accounts/password/change/"]
LOGGED_IN += ["/accounts/close/"]


class Page(HTMLParser):
    """What a test wants to know of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember an element."""
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def assert_sound(answer: Any, language: str = "en") -> None:
    """Check what holds for all pages."""
    html = answer.content.decode()
    page = Page(html)
    assert len(page.all("h1")) == 1, html
    assert page.all("html")[0]["lang"] == language
    assert len(page.all("title")) == len(page.all("main")) == 1
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert page.all("style") == []
    # A block of data is no script, and no policy stops it.
    scripts = [each for each in page.all("script") if each.get("type") != "application/json"]
    assert all("src" in script for script in scripts)
    assert not any(name.startswith("on") or name == "style" for _, a in page.elements for name in a)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids)), ids


def assert_guarded(answer: Any) -> None:
    """Check the headers that every answer carries."""
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert answer["X-Request-ID"]


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("path", ANONYMOUS)
def test_pages_for_everyone(client: Client, path: str, language: str) -> None:
    answer = client.get(path, HTTP_ACCEPT_LANGUAGE=language)

    assert answer.status_code == 200
    assert_sound(answer, language)
    assert_guarded(answer)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("path", LOGGED_IN)
def test_pages_for_who_is_logged_in(client: Client, path: str, language: str) -> None:
    client.force_login(User.objects.create_user("mei@example.com", "a long enough one"))

    answer = client.get(path, HTTP_ACCEPT_LANGUAGE=language)

    assert answer.status_code == 200
    assert_sound(answer, language)
    assert_guarded(answer)


@pytest.mark.parametrize("path", ["/wallet/", "/admin/", "/admin/coupons/campaign/"])
def test_pages_that_ask_who_you_are(client: Client, path: str) -> None:
    answer = client.get(path)

    login, query = reverse("account_login"), f"?next={path}".replace("/", "%2F")
    assert answer.status_code == 302
    first = answer["Location"]
    if not first.startswith(login):  # the admin asks by way of its own address
        first = client.get(first)["Location"]
    assert first.replace("/", "%2F") == (login + query).replace("/", "%2F")


def test_the_admin_is_for_staff(client: Client) -> None:
    client.force_login(make_person())
    assert client.get("/admin/login/").status_code == 403

    client.force_login(User.objects.create_superuser("staff@example.com", "x"))
    answer = client.get("/admin/")

    assert answer.status_code == 200
    assert_guarded(answer)


@pytest.mark.parametrize(
    "path", ["/livez", "/api/v1/me/", "/api/docs/", "/api/schema/", "/nowhere/", "/i/nobody/"]
)
def test_other_answers_are_guarded_too(client: Client, path: str) -> None:
    answer = client.get(path)

    if path == "/api/docs/":  # its own: the page may open a window to log in
        assert answer["X-Frame-Options"] == "DENY"
    else:
        assert_guarded(answer)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nowhere/", "get", 404),
        ("/accounts/reset/key/x/", "get", 404),
        ("/form/", "post", 403),
        ("/failing/forbidden/", "get", 403),
        ("/failing/suspicious/", "get", 400),
        ("/failing/bad-request/", "get", 400),
        ("/failing/bug/", "get", 500),
        ("/failing/locked/", "get", 503),
    ],
)
@pytest.mark.urls("tests.project.failing_urls")
@pytest.mark.parametrize("logged_in", [False, True])
def test_error_pages_are_friendly_and_name_the_request(
    path: str, method: str, status: int, logged_in: bool
) -> None:
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    if logged_in:
        client.force_login(make_person())

    answer = getattr(client, method)(path, HTTP_X_REQUEST_ID="name-of-this-request")

    assert answer.status_code == status
    assert_sound(answer)
    assert_guarded(answer)
    html = answer.content.decode()
    assert "name-of-this-request" in html
    assert "hunter2" not in html
    assert "Traceback" not in html
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_a_page_without_a_database_is_a_friendly_503(client: Client) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_person())

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(refuse):
        answers = [client.get(path) for path in ("/", "/wallet/", "/accounts/login/")]

    for answer in answers:
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        assert_sound(answer)


def test_not_found_without_a_database_is_a_friendly_503() -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_person())

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(refuse):
        answer = client.get("/nowhere/", HTTP_ACCEPT_LANGUAGE="zh-hans")

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert_sound(answer, "zh-hans")


@pytest.mark.urls("tests.project.failing_urls")
def test_an_old_form_without_anything_typed_has_one_way_that_stands_out() -> None:
    client = Client(enforce_csrf_checks=True)

    answer = client.post("/form/", HTTP_ORIGIN="http://testserver")

    html = answer.content.decode()
    assert "Send it again" in html
    assert 'class="button quiet"' in html


def test_the_language_switch_works_without_script(client: Client) -> None:
    answer = client.post("/i18n/setlang/", {"language": "zh-hans", "next": "/"})

    assert answer["Location"] == "/"
    assert_sound(client.get("/"), "zh-hans")


def test_the_language_switch_leads_nowhere_else(client: Client) -> None:
    answer = client.post("/i18n/setlang/", {"language": "zh-hans", "next": "//elsewhere.example"})

    assert answer["Location"] == "/"


def test_where_password_programs_look(client: Client) -> None:
    answer = client.get("/.well-known/change-password")

    assert (answer.status_code, answer["Location"]) == (302, reverse("account_change_password"))


def test_the_landing_page_promises_what_is_live(client: Client) -> None:
    make_campaign(
        name="Winter welcome", description="A little off.", min_spend=5000, currency="EUR"
    )

    html = client.get("/").content.decode()

    assert "Winter welcome" in html
    assert "10% off" in html
    assert "50.00 EUR" in html


def test_the_landing_page_promises_nothing_where_nothing_is_live(client: Client) -> None:
    make_campaign(name="Winter welcome", status="paused")

    html = client.get("/").content.decode()

    assert "Winter welcome" not in html
    assert "coupon" not in re.sub(r"<[^>]+>", "", html.split("<h1")[1].split("</h1>")[0])


def test_texts_of_campaigns_are_shown_as_text(client: Client) -> None:
    make_campaign(name="<script>alert(1)</script>", terms="<img src=x onerror=alert(1)>")

    assert_sound(client.get("/"))
