"""An open page hears of what concerns its person, for as long as they are logged in."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection, connections, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.closing import CloseReason, close_account
from accounts.models import User
from events import live, live_follower
from events.live import TAIL_LIMIT
from events.live_follower import HINTS_PER_LOOK, SOCKETS_PER_PERSON, Follower, Socket
from events.live_sockets import POLICY_VIOLATION, SESSION_ENDED, LiveSocket
from events.models import Event
from tests.conftest import Publish
from tests.faults.world import register
from tests.probe.crowds import publish_many
from tests.probe.signals import Happened, happened
from tests.registrations import make_person
from tests.sockets import HOST, ORIGIN, Page, in_thread, opened, run, session_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_follower, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(live_follower, "CHECK_SESSIONS_EVERY_S", 0.02)


@pytest.fixture
def follower() -> Iterator[Follower]:
    """Return what follows the log in a web process; it asks nothing after the test."""
    follower = Follower()
    yield follower
    for threads in (follower._looking, follower._joining):
        threads.shutdown()  # waits for what is asked at present


@pytest.fixture
def application(follower: Follower) -> Any:
    """Return the ASGI application of that process."""
    return LiveSocket.as_asgi(follower=follower)


def hint_of(event: Any) -> dict[str, str]:
    """Return what a page is told of an event."""
    return {"type": event.type, "id": str(event.id)}


# --- What is heard ----------------------------------------------------------------------------


def test_a_page_hears_of_its_persons_events_in_order_and_each_once(
    application: Any, publish: Publish
) -> None:
    mei = make_person()
    session_key = session_of(mei)

    async def scenario() -> list[dict[str, str]]:
        page = await opened(application, session_key)
        events = [await in_thread(publish, number, str(mei.pk)) for number in range(3)]
        heard = [await page.next_hint() for _ in events]
        last = await in_thread(publish, 3, str(mei.pk))
        heard.append(await page.next_hint())  # after looks that met the first ones again
        await page.leave()
        assert heard == [hint_of(event) for event in [*events, last]]
        return heard

    assert len(run(scenario)) == 4


def test_a_page_hears_nothing_of_other_people(application: Any, publish: Publish) -> None:
    mei, lin = make_person(), make_person()
    keys = [session_of(mei), session_of(lin)]

    async def scenario() -> None:
        pages = [await opened(application, key) for key in keys]
        hers = await in_thread(publish, 1, str(mei.pk))
        await in_thread(publish, 2, "somebody who is not connected")
        his = await in_thread(publish, 3, str(lin.pk))

        first_heard = [await page.next_hint() for page in pages]

        assert first_heard == [hint_of(hers), hint_of(his)]
        for page in pages:
            assert await page.hears_nothing()
            await page.leave()

    run(scenario)


def test_what_happened_before_a_page_was_opened_is_not_news(
    application: Any, publish: Publish
) -> None:
    mei = make_person()
    session_key = session_of(mei)
    publish(1, str(mei.pk))

    async def scenario() -> None:
        first = await opened(application, session_key)
        between = await in_thread(publish, 2, str(mei.pk))
        assert await first.next_hint() == hint_of(between)
        second = await opened(application, session_key)
        later = await in_thread(publish, 3, str(mei.pk))

        assert [await page.next_hint() for page in (first, second)] == [hint_of(later)] * 2
        await first.leave()
        await second.leave()

    run(scenario)


def test_an_inviter_hears_of_whom_they_invited(application: Any) -> None:
    mei = register("mei@example.com")
    session_key = session_of(mei)

    async def scenario() -> dict[str, str]:
        page = await opened(application, session_key)
        await in_thread(register, "lin@example.com", mei)
        hint = await page.next_hint()
        await page.leave()
        return hint

    hint = run(scenario)

    event = Event.objects.get(event_id=hint["id"])
    assert (hint["type"], event.data["inviter_id"]) == ("accounts.user_registered", str(mei.pk))


def test_what_is_committed_late_is_heard_though_its_position_is_lower(
    application: Any, publish: Publish
) -> None:
    mei = make_person()
    session_key = session_of(mei)

    def record(position: int) -> Event:
        row = {"type": happened.type, "version": 1, "data": {}, "key": str(mei.pk)}
        return Event.objects.create(position=position, correlation_id="test", **row)

    async def scenario() -> None:
        before = await in_thread(publish)
        page = await opened(application, session_key)
        ahead = await in_thread(record, before.position + 20)
        assert (await page.next_hint())["id"] == str(ahead.event_id)

        late = await in_thread(record, before.position + 10)

        assert (await page.next_hint())["id"] == str(late.event_id)
        await page.leave()

    run(scenario)


@pytest.mark.database("postgres")
def test_a_transaction_that_is_slow_to_commit_is_heard(application: Any, publish: Publish) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer: positions are in the order of the commits.")
    mei = make_person()
    session_key = session_of(mei)
    is_recorded, may_commit = threading.Event(), threading.Event()

    def publish_slowly() -> Any:
        with transaction.atomic():
            event = happened.publish(Happened(key=str(mei.pk), number=1))
            is_recorded.set()
            assert may_commit.wait(30)
        return event

    async def scenario() -> None:
        page = await opened(application, session_key)
        slow = asyncio.create_task(in_thread(publish_slowly))
        await asyncio.to_thread(is_recorded.wait, 30)
        quick = await in_thread(publish, 2, str(mei.pk))
        assert await page.next_hint() == hint_of(quick)
        may_commit.set()

        event = await slow

        assert event.position < quick.position
        assert await page.next_hint() == hint_of(event)
        await page.leave()

    run(scenario)


def test_what_was_heard_is_not_heard_again_as_the_window_moves_past_it(
    application: Any, publish: Publish, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_BACK_S", 0.05)
    mei = make_person()
    session_key = session_of(mei)

    async def scenario() -> None:
        page = await opened(application, session_key)
        for number in range(3):
            event = await in_thread(publish, number, str(mei.pk))
            assert await page.next_hint() == hint_of(event)
            while (follower._window.start or 0) < event.position:
                await asyncio.sleep(0.01)
        assert await page.hears_nothing()
        await page.leave()

    run(scenario)


# --- Of whom much is to be told ----------------------------------------------------------------


def test_of_a_crowd_of_events_a_page_hears_the_latest_and_the_crowd_is_remembered_once(
    application: Any, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    remembered: list[int] = []
    read_tail = live.read_tail

    class Watched(Socket):
        """Tells when all that it knows is gone through."""

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "known":
                remembered.append(len(value))  # it was built anew
            super().__setattr__(name, value)

    def counting(people: Any, after: int) -> Any:
        looks.append(after)
        return read_tail(people, after)

    monkeypatch.setattr(live_follower, "Socket", Watched)
    monkeypatch.setattr(live_follower, "read_tail", counting)
    mei = make_person()
    session_key = session_of(mei)

    async def scenario() -> None:
        page = await opened(application, session_key)
        await in_thread(publish_many, str(mei.pk), 300)
        heard = [await page.next_hint() for _ in range(HINTS_PER_LOOK)]
        assert len({hint["id"] for hint in heard}) == HINTS_PER_LOOK == 20

        last = await in_thread(publish, 3, str(mei.pk))

        assert await page.next_hint() == hint_of(last)  # and none of the 280
        assert str(last.id) not in {hint["id"] for hint in heard}
        await page.leave()

    run(scenario)

    assert max(remembered) >= 300
    assert len(remembered) <= len(looks) + 2  # once a look, one of them under way, and at first


def test_after_more_than_a_look_reads_whom_it_concerns_is_told_to_look_again_and_no_more(
    application: Any, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []
    read_tail = live.read_tail

    def refuse(people: Any, after: int) -> Any:
        raise OperationalError("connection refused")

    def noting(people: Any, after: int) -> Any:
        starts.append(after)
        return read_tail(people, after)

    mei, lin = make_person(), make_person()
    keys = [session_of(mei), session_of(lin)]

    async def scenario() -> int:
        pages = [await opened(application, key) for key in keys]
        before = await in_thread(publish, 1, str(mei.pk))
        assert await pages[0].next_hint() == hint_of(before)
        monkeypatch.setattr(live_follower, "read_tail", refuse)
        end = await in_thread(publish_many, str(mei.pk), TAIL_LIMIT + 50)
        monkeypatch.setattr(live_follower, "read_tail", noting)
        assert await pages[0].next_hint() == {"type": "live.look_again"}

        later = [await in_thread(publish, 2, str(person.pk)) for person in (mei, lin)]

        assert [await page.next_hint() for page in pages] == [hint_of(event) for event in later]
        for page in pages:
            assert await page.hears_nothing()
            await page.leave()
        return int(end)

    end = run(scenario)

    assert starts[0] < end
    assert set(starts[1:]) == {end}  # what was too much is not read again


def test_between_two_pages_others_have_their_turn(
    application: Any, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    send = live_follower._send

    async def noting(socket: Socket, message: dict[str, Any]) -> None:
        if message["type"] == "live.hint":
            order.append(socket.channel)
            asyncio.get_running_loop().call_soon(order.append, "others")
        await send(socket, message)

    monkeypatch.setattr(live_follower, "_send", noting)
    mei = make_person()
    session_key = session_of(mei)

    async def scenario() -> None:
        pages = [await opened(application, session_key) for _ in range(3)]
        await in_thread(publish, 1, str(mei.pk))
        for page in pages:
            await page.next_hint()
        for page in pages:
            await page.leave()

    run(scenario)

    assert order[1::2] == ["others"] * 3
    assert len(set(order[::2])) == 3


# --- Who is let in ----------------------------------------------------------------------------


def test_nobody_is_let_in_who_is_not_logged_in(application: Any) -> None:
    async def scenario() -> list[bool]:
        strangers = ["", "0123456789abcdef0123456789abcdef", "no key of any kind!", "\x00"]
        return [await Page(application, key).is_accepted() for key in strangers]

    assert run(scenario) == [False] * 4


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        (ORIGIN, True),
        ("https://pages.example", True),
        ("https://a.shops.example", True),
        (None, False),
        ("null", False),
        ("https://evil.example", False),
        (f"https://{HOST}", False),
        (f"http://{HOST}:9000", False),
        (f"http://{HOST}.evil.example", False),
        ("http://a.shops.example", False),
        ("https://shops.example.evil.example", False),
        ("https://notshops.example", False),
        ("http://[::1", False),
    ],
)
def test_only_our_own_pages_are_let_in(
    application: Any, settings: Settings, origin: str | None, is_ours: bool
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://pages.example", "https://*.shops.example"]
    session_key = session_of(make_person())

    async def scenario() -> bool:
        page = Page(application, session_key, origin=origin)
        accepted = await page.is_accepted()
        await page.leave()
        return accepted

    assert run(scenario) == is_ours


def test_a_host_that_is_not_served_is_refused(application: Any) -> None:
    session_key = session_of(make_person())
    page = Page(application, session_key, host="evil.example", origin="http://evil.example")

    async def scenario() -> bool:
        return await page.is_accepted()

    assert not run(scenario)


def test_a_person_has_so_many_sockets_and_no_more(application: Any, publish: Publish) -> None:
    mei, lin = make_person(), make_person()
    hers, his = session_of(mei), session_of(lin)

    async def scenario() -> None:
        pages = [await opened(application, hers) for _ in range(SOCKETS_PER_PERSON)]
        assert not await Page(application, hers).is_accepted()
        other = await opened(application, his)

        await pages.pop().leave()

        pages.append(await opened(application, hers))
        for page in [*pages, other]:
            await page.leave()

    run(scenario)


def test_a_process_has_so_many_sockets_and_no_more(
    application: Any, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.LIVE_MAX_SOCKETS = 2
    keys = [session_of(make_person()) for _ in range(3)]

    async def scenario() -> list[bool]:
        pages = [Page(application, key) for key in keys]
        accepted = [await page.is_accepted() for page in pages]
        for page in pages:
            await page.leave()
        return accepted

    assert run(scenario) == [True, True, False]
    assert "no further ones" in caplog.text


def test_a_page_that_says_something_is_cut_off(application: Any) -> None:
    session_key = session_of(make_person())

    async def scenario() -> int:
        page = await opened(application, session_key)
        await page.say("x" * 1_000_000)
        return await page.close_code()

    assert run(scenario) == POLICY_VIOLATION


# --- How it ends ------------------------------------------------------------------------------


def log_out(session_key: str, user: User) -> None:
    """Log out, as the page does."""
    client = Client()
    client.cookies["sessionid"] = session_key
    assert client.post("/accounts/logout/").status_code == 302


def change_password(session_key: str, user: User) -> None:
    """Change the password, in another browser."""
    user.set_password("another long enough one")
    user.save(update_fields=["password"])


def close(session_key: str, user: User) -> None:
    """Close the account."""
    close_account(user_id=user.pk, reason=CloseReason.REQUESTED)


def deactivate(session_key: str, user: User) -> None:
    """Take the right to log in."""
    User.objects.filter(pk=user.pk).update(is_active=False)


def end_session(session_key: str, user: User) -> None:
    """End the session from another browser."""
    Session.objects.filter(session_key=session_key).delete()


def let_session_expire(session_key: str, user: User) -> None:
    """Let the time of the session be over."""
    Session.objects.filter(session_key=session_key).update(expire_date=timezone.now())


@pytest.mark.parametrize(
    "end", [log_out, change_password, close, deactivate, end_session, let_session_expire]
)
def test_a_page_is_closed_when_its_session_ends_and_no_other_page(
    application: Any, publish: Publish, end: Callable[[str, User], None]
) -> None:
    mei, lin = register("mei@example.com"), make_person()
    hers, his = session_of(mei), session_of(lin)

    async def scenario() -> None:
        page, other = await opened(application, hers), await opened(application, his)

        await in_thread(end, hers, mei)

        assert await page.close_code() == SESSION_ENDED
        event = await in_thread(publish, 1, str(lin.pk))
        assert await other.next_hint() == hint_of(event)
        assert not await Page(application, hers).is_accepted()
        await page.leave()
        await other.leave()

    run(scenario)


def test_a_connection_ends_no_session_whatever_key_signs(
    application: Any, settings: Settings
) -> None:
    mei = make_person()
    session_key = session_of(mei)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the new key of a deployment that changes its key"

    async def scenario() -> None:
        page = await opened(application, session_key)  # a page opened before the change
        await page.leave()

    run(scenario)

    assert Session.objects.filter(session_key=session_key).exists()


# --- What it costs, and what it survives -------------------------------------------------------


def test_nothing_is_asked_while_nobody_is_connected(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    read_tail = live.read_tail

    def counting(people: Any, after: int) -> Any:
        looks.append(list(people))
        return read_tail(people, after)

    monkeypatch.setattr(live_follower, "read_tail", counting)
    mei = make_person()
    session_key = session_of(mei)

    async def scenario() -> None:
        page = await opened(application, session_key)
        while len(looks) < 3:
            await asyncio.sleep(0.01)
        await page.leave()
        (task,) = [t for t in asyncio.all_tasks() if t.get_coro().__name__ == "_follow"]  # type: ignore[union-attr]
        await task

    run(scenario)

    assert all(people == [str(mei.pk)] for people in looks)


def test_an_outage_of_the_database_is_outlasted_and_what_was_missed_is_heard(
    application: Any,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mei = make_person()
    session_key = session_of(mei)
    read_tail = live.read_tail
    failures = []

    def refuse(people: Any, after: int) -> Any:
        failures.append(after)
        raise OperationalError("connection refused")

    def told() -> list[str]:
        own = (record for record in caplog.records if record.name == live_follower.__name__)
        return [record.message for record in own]

    async def scenario() -> None:
        page = await opened(application, session_key)
        first = await in_thread(publish, 1, str(mei.pk))
        assert await page.next_hint() == hint_of(first)
        monkeypatch.setattr(live_follower, "read_tail", refuse)
        while len(failures) < 2:
            await asyncio.sleep(0.01)
        assert not await Page(application, session_key).is_accepted()
        missed = await in_thread(publish, 2, str(mei.pk))
        monkeypatch.setattr(live_follower, "read_tail", read_tail)

        assert await page.next_hint() == hint_of(missed)
        newcomer = await opened(application, session_key)
        await newcomer.leave()
        while len(told()) < 2:  # a look ends after its hints were sent
            await asyncio.sleep(0.01)
        await page.leave()

    run(scenario)

    assert told() == [
        "Open pages can't be told what is new; trying again.",
        "Open pages are told again what is new.",
    ]


def test_no_connection_to_the_database_is_held_between_looks(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Any] = []
    read_tail = live.read_tail

    def looking(people: list[str], after: int) -> Any:
        held.append(connections["default"].connection)
        return read_tail(people, after)

    session_key = session_of(make_person())

    async def scenario() -> None:
        page = await opened(application, session_key)
        monkeypatch.setattr(live_follower, "read_tail", looking)
        while len(held) < 4:
            await asyncio.sleep(0.01)
        await page.leave()

    run(scenario)

    assert held[1:4] == [None] * 3  # the first one may still have asked where to begin


def test_a_heartbeat_tells_that_the_connection_lives(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_follower, "HEARTBEAT_EVERY_S", 0.02)
    session_key = session_of(make_person())

    async def scenario() -> list[dict[str, str]]:
        page = await opened(application, session_key)
        beats = [await page.next_hint() for _ in range(2)]
        await page.leave()
        return beats

    assert run(scenario) == [{"type": "live.heartbeat"}] * 2
