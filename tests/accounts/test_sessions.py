"""A person sees where they are logged in, and ends what is not theirs."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import browsers
from accounts.closing import CloseReason, close_account
from accounts.models import User
from accounts.queries import export_account
from accounts.sessions import forget_ended_sessions
from tests.accounts.conftest import PASSWORD, Register
from tests.project.test_pages import assert_sound

pytestmark = pytest.mark.django_db

PAGE = "/accounts/sessions/"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
CHROME = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Mobile Safari/537.36"
)


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody with a password."""
    return register(email="mei@example.com").user


def logged_in(user_agent: str = FIREFOX, email: str = "mei@example.com") -> Client:
    """Return a browser that somebody has logged in with."""
    browser = Client(headers={"User-Agent": user_agent})
    browser.post("/accounts/login/", {"login": email, "password": PASSWORD})
    return browser


def is_in(browser: Client) -> bool:
    """Tell whether a browser is still logged in."""
    return browser.get("/wallet/").status_code == 200


def row_of(browser: Client) -> UserSession:
    """Return what is kept of where a browser's session came from."""
    found: UserSession = UserSession.objects.get(session_key=browser.session.session_key)
    return found


def test_each_session_is_shown_with_its_browser_and_address(mei: User) -> None:
    here, _there = logged_in(), logged_in(SAFARI)

    answer: Any = here.get(PAGE)

    assert_sound(answer)
    page = answer.content.decode()
    assert page.index("Safari on iPhone") < page.index("Firefox on Windows")
    assert page.count("This browser.") == 1
    assert "from 127.0.0.1." in page


def test_a_session_that_is_older_than_the_list_is_in_it(client: Client, mei: User) -> None:
    client.force_login(mei)

    assert "This browser." in client.get(PAGE).content.decode()


def test_one_other_session_is_ended(mei: User) -> None:
    here, there, elsewhere = logged_in(), logged_in(SAFARI), logged_in(CHROME)

    here.post(PAGE, {"session": row_of(there).pk})

    assert [is_in(each) for each in (here, there, elsewhere)] == [True, False, True]


def test_all_others_are_ended_at_once(mei: User) -> None:
    here, there, elsewhere = logged_in(), logged_in(SAFARI), logged_in(CHROME)

    answer: Any = here.post(PAGE, follow=True)

    assert [is_in(each) for each in (here, there, elsewhere)] == [True, False, False]
    assert "Logged out there." in answer.content.decode()


def test_nobody_ends_the_session_of_another_person(mei: User, register: Register) -> None:
    register(email="lin@example.com")
    here, lins = logged_in(), logged_in(email="lin@example.com")

    here.post(PAGE, {"session": row_of(lins).pk})

    assert is_in(lins)


@pytest.mark.parametrize("given", ["0", "-1", "nonsense", "9" * 30])
def test_what_is_no_session_ends_none(mei: User, given: str) -> None:
    here, there = logged_in(), logged_in(SAFARI)

    assert here.post(PAGE, {"session": given}).status_code in {200, 302}

    assert is_in(here)
    assert is_in(there)


def test_strangers_are_asked_to_log_in(client: Client) -> None:
    assert client.get(PAGE).status_code == 302


def test_closing_an_account_ends_its_sessions_and_forgets_where_they_came_from(mei: User) -> None:
    browser = logged_in()

    close_account(user_id=mei.pk, reason=CloseReason.REQUESTED)

    assert not is_in(browser)
    assert not UserSession.objects.exists()
    assert not Session.objects.exists()


def test_the_export_tells_of_sessions(mei: User) -> None:
    logged_in()

    (session,) = export_account(mei.pk)["account"]["sessions"]

    assert (session["ip"], session["user_agent"]) == ("127.0.0.1", FIREFOX)


def test_what_is_over_is_forgotten_and_the_rest_kept(mei: User) -> None:
    logged_in()
    Session.objects.update(expire_date=timezone.now())
    kept = logged_in(SAFARI)
    UserSession.objects.create(user=mei, ip="192.0.2.1", user_agent="x", session_key="gone")

    forget_ended_sessions()

    assert [row.session_key for row in UserSession.objects.all()] == [kept.session.session_key]
    assert Session.objects.count() == 1


def test_what_is_over_is_forgotten_in_chunks(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.operations.chunks.DELETED_AT_ONCE", 2)
    over = timezone.now() - timedelta(seconds=1)
    keys = [f"key{number}" for number in range(5)]
    Session.objects.bulk_create(Session(pk=key, expire_date=over) for key in keys)

    with CaptureQueriesContext(connection) as statements:
        forget_ended_sessions()

    deletes = [each["sql"] for each in statements if 'DELETE FROM "django_session"' in each["sql"]]
    assert len(deletes) == 3
    assert max(len([key for key in keys if key in sql]) for sql in deletes) == 2
    assert not Session.objects.exists()


def make_sessions(user: User, count: int) -> None:
    """Let somebody have logged in so many times before, the first longest ago."""
    browser, now = Client(), timezone.now()
    browser.force_login(user)
    row = Session.objects.get(pk=browser.session.session_key)
    row.delete()
    keys = [f"earlier{number:03}" for number in range(count)]
    Session.objects.bulk_create(
        Session(pk=key, session_data=row.session_data, expire_date=row.expire_date) for key in keys
    )
    UserSession.objects.bulk_create(
        UserSession(
            user=user,
            ip="192.0.2.1",
            user_agent="x",
            session_key=key,
            created_at=now - timedelta(hours=count - number),
        )
        for number, key in enumerate(keys)
    )


def test_a_login_asks_the_database_as_often_with_25_sessions_as_with_none(mei: User) -> None:
    with CaptureQueriesContext(connection) as first:
        logged_in()
    make_sessions(mei, 24)

    with CaptureQueriesContext(connection) as later:
        logged_in()

    assert UserSession.objects.count() == 26
    assert len(later) == len(first)


def test_a_login_ends_the_oldest_sessions_of_too_many_and_no_one_else_s(
    mei: User, register: Register
) -> None:
    register(email="lin@example.com")
    lins = logged_in(email="lin@example.com")
    make_sessions(mei, 55)

    browser = logged_in()

    assert is_in(browser)
    assert is_in(lins)
    left = UserSession.objects.filter(user=mei).values_list("session_key", flat=True)
    expected = {f"earlier{number:03}" for number in range(6, 55)}
    assert set(left) == {*expected, browser.session.session_key}
    assert Session.objects.count() == len(left) + 1


@pytest.mark.parametrize(
    ("user_agent", "said"),
    [
        (FIREFOX, "Firefox on Windows"),
        (SAFARI, "Safari on iPhone"),
        (CHROME, "Chrome on Android"),
        (CHROME + " EdgA/142.0", "Edge on Android"),
        ("curl/8.14.1", "A program without a name"),
        ("", "A program without a name"),
        ("Links (2.29; Linux 6.1 x86_64)", "Linux"),
    ],
)
def test_browsers_are_called_what_people_call_them(user_agent: str, said: str) -> None:
    assert browsers.describe(user_agent) == said
