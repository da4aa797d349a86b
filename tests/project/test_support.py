"""Support looks up what happened, reads why, and mends it: with the rights for it, on record."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from accounts.services import register
from coupons.models import Coupon
from coupons.queries import WELCOME_RECEIVER
from events.models import Delivery, DeliveryState, Event, ReceiverState
from project import demo
from tests.conftest import Drain, Misbehave, Publish

pytestmark = pytest.mark.django_db(transaction=True)

LOOK_UP = "/admin/support/"
READ = ("view_event", "view_delivery", "view_user")
RECORD = "probe.record"


def log_in(client: Client, *rights: str) -> User:
    """Log in a member of staff with some permissions."""
    user = User.objects.create_user(f"clerk{User.objects.count()}@example.com", "irrelevant")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(user)
    return user


@pytest.fixture
def clerk(client: Client) -> User:
    """Return a member of support, who is logged in."""
    return log_in(client, *READ, "replay_delivery", "skip_delivery", "pause_receiver")


@pytest.fixture
def unlucky(drain: Drain) -> User:
    """Return somebody whose welcome coupon is a dead delivery."""
    demo.create_welcome_campaign()
    user = register(email="li@example.com", password="correct-horse-7").user
    owed = Delivery.objects.filter(key=str(user.pk), receiver=WELCOME_RECEIVER)
    owed.update(state=DeliveryState.DEAD, due_at=None, attempts=16, last_error="OSError: disk full")
    drain()
    return user


@pytest.fixture
def dead(publish: Publish, drain: Drain, misbehave: Misbehave) -> Delivery:
    """Return a dead delivery, whose cause is mended."""
    fault = misbehave(1, "permanent")
    publish(1)
    drain()
    fault.delete()
    return Delivery.objects.get(receiver=RECORD)


def look_up(client: Client, wanted: str) -> Any:
    """Type something into the search box."""
    return client.post(LOOK_UP, {"wanted": wanted})


def person_page(user: User) -> str:
    return reverse("support-person", args=[user.pk])


def event_page(event_id: UUID) -> str:
    return reverse("support-event", args=[event_id])


# --- Looking up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["li@example.com", " LI@Example.com "])
def test_an_address_leads_to_the_account(
    spelled: str, client: Client, clerk: User, unlucky: User
) -> None:
    answer = look_up(client, spelled)

    assert (answer.status_code, answer["Location"]) == (302, person_page(unlucky))
    assert "li@" not in answer["Location"]  # addresses of pages are logged


def test_ids_lead_to_the_account_or_event(client: Client, clerk: User, unlucky: User) -> None:
    event = Event.objects.latest("position")

    assert look_up(client, str(unlucky.pk))["Location"] == person_page(unlucky)
    assert look_up(client, str(event.event_id))["Location"] == event_page(event.event_id)


@pytest.mark.parametrize(
    "wanted", ["nobody@example.com", str(UUID(int=7)), "li", "", "@", "x" * 300]
)
def test_what_is_not_found_is_said_beside_the_field(
    wanted: str, client: Client, clerk: User, unlucky: User
) -> None:
    answer = look_up(client, wanted)

    assert answer.status_code == 200
    assert 'class="errorlist"' in answer.content.decode()


@pytest.mark.parametrize("may_view_attempts", [True, False])
def test_what_an_error_said_is_for_those_who_may_view_attempts(
    client: Client, dead: Delivery, may_view_attempts: bool
) -> None:
    log_in(client, *READ, *(["view_attempt"] if may_view_attempts else []))
    dead.failures.update(error_class="OSError", error_message="li@example.com is unknown")

    page = client.get(event_page(dead.event_id)).content.decode()

    assert "attempt 1 failed after" in page
    assert "OSError" in page
    assert ("li@example.com is unknown" in page) is may_view_attempts


def test_who_may_not_view_accounts_learns_of_none(client: Client, unlucky: User) -> None:
    log_in(client, "view_event", "view_delivery")

    known, unknown = look_up(client, "li@example.com"), look_up(client, "no@example.com")

    assert known.status_code == unknown.status_code == 200
    assert "You may not look accounts up" in known.content.decode()
    assert look_up(client, str(unlucky.pk)).status_code == 200
    assert client.get(person_page(unlucky)).status_code == 403


# --- Reading --------------------------------------------------------------------------------------


def test_one_page_tells_why_the_coupon_is_not_there(
    client: Client, clerk: User, unlucky: User
) -> None:
    page = client.get(person_page(unlucky)).content.decode()

    assert f"to {WELCOME_RECEIVER} is dead after 16 attempts." in page
    assert "OSError: disk full" in page
    assert "accounts.user_registered" in page
    assert page.count("<h1") == 1
    assert "li@example.com" not in page


def test_a_sound_story_says_so_and_offers_nothing(
    client: Client, clerk: User, publish: Publish, drain: Drain
) -> None:
    event = publish(1)
    drain()

    page = client.get(event_page(event.id)).content.decode()

    assert "Nothing is late" in page
    assert 'name="reason"' not in page
    assert "Look again" not in page


def test_an_event_links_to_its_cause_and_what_it_caused(
    client: Client, clerk: User, publish: Publish, drain: Drain
) -> None:
    event = publish(1)
    drain()
    follower = Event.objects.get(causation_id=event.id)

    assert event_page(follower.event_id) in client.get(event_page(event.id)).content.decode()
    assert event_page(event.id) in client.get(event_page(follower.event_id)).content.decode()


def test_what_is_not_there_is_not_found(client: Client, clerk: User) -> None:
    for name in ("support-person", "support-event"):
        assert client.get(reverse(name, args=[uuid4()])).status_code == 404


def test_texts_of_others_are_shown_as_texts(client: Client, clerk: User, dead: Delivery) -> None:
    Delivery.objects.filter(pk=dead.pk).update(last_error="<script>alert(1)</script>")

    page = client.get(event_page(dead.event_id)).content.decode()

    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_long_story_takes_as_many_statements_as_a_short_one(
    client: Client, clerk: User, publish: Publish, drain: Drain
) -> None:
    user = register(email="li@example.com", password="correct-horse-7").user

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(person_page(user)).status_code == 200
        return len(captured)

    publish(0, key=str(user.pk))
    drain()
    few = statements()
    for number in range(1, 30):
        publish(number, key=str(user.pk))
    drain()

    assert statements() == few


# --- Mending --------------------------------------------------------------------------------------


def act(client: Client, name: str, place: object, **data: str) -> Any:
    """Press a button."""
    return client.post(reverse(name, args=[place]), data)


def test_the_coupon_is_replayed_from_the_page_and_arrives(
    client: Client, clerk: User, unlucky: User, drain: Drain
) -> None:
    delivery = Delivery.objects.get(key=str(unlucky.pk), receiver=WELCOME_RECEIVER)
    before = client.get(person_page(unlucky)).content.decode()
    button = reverse("support-replay", args=[delivery.pk])

    answer = client.post(button, {"reason": "room again", "back": person_page(unlucky)})
    underway = client.get(person_page(unlucky)).content.decode()
    drain()
    after = client.get(person_page(unlucky)).content.decode()

    assert f'formaction="{button}"' in before
    assert answer["Location"] == person_page(unlucky)
    assert "Look again" in underway
    assert Coupon.objects.filter(user=unlucky).exists()
    assert "There is a coupon of campaign “Welcome”" in after
    entry = LogEntry.objects.get()
    assert (entry.user, entry.get_change_message()) == (clerk, "Replayed: room again")


def test_what_stands_before_it_is_what_the_button_mends(
    client: Client, clerk: User, dead: Delivery, publish: Publish, drain: Drain
) -> None:
    later = publish(2)
    drain()

    page = client.get(event_page(later.id)).content.decode()

    first = Delivery.objects.filter(state=DeliveryState.DEAD).order_by("receiver").first()
    assert first
    verdict = page.partition('class="verdict')[2].partition("</section>")[0]
    assert "waits behind an earlier one" in verdict
    assert f'formaction="{reverse("support-replay", args=[first.pk])}"' in verdict


def test_a_delivery_is_skipped_with_a_reason(client: Client, clerk: User, dead: Delivery) -> None:
    act(client, "support-skip", dead.pk, reason="a test account")

    dead.refresh_from_db()
    assert (dead.state, dead.skipped_by) == (DeliveryState.SKIPPED, clerk.email)
    assert LogEntry.objects.get().get_change_message() == "Skipped: a test account"


def test_a_paused_receiver_is_resumed_from_the_story(
    client: Client, clerk: User, publish: Publish
) -> None:
    ReceiverState.objects.create(name=RECORD, paused_at="2026-01-01T00:00:00Z", paused_by="ada")
    event = publish(1)
    page = client.get(event_page(event.id)).content.decode()

    act(client, "support-resume", RECORD, reason="mended")

    assert f'formaction="{reverse("support-resume", args=[RECORD])}"' in page
    assert ReceiverState.objects.get().paused_at is None
    assert LogEntry.objects.get().get_change_message() == "Resumed: mended"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
def test_nothing_is_done_without_a_reason(
    reason: str, client: Client, clerk: User, dead: Delivery
) -> None:
    for name in ("support-replay", "support-skip"):
        answer = client.post(
            reverse(name, args=[dead.pk]), {"reason": reason, "back": LOOK_UP}, follow=True
        )
        assert "Say why" in answer.content.decode()

    dead.refresh_from_db()
    assert dead.state == DeliveryState.DEAD
    assert not LogEntry.objects.exists()


def test_who_comes_too_late_is_told(client: Client, clerk: User, dead: Delivery) -> None:
    Delivery.objects.filter(pk=dead.pk).update(
        state=DeliveryState.DONE, finished_at="2026-01-01T00:00:00Z"
    )

    answer = client.post(
        reverse("support-skip", args=[dead.pk]), {"reason": "x", "back": LOOK_UP}, follow=True
    )

    assert "Nothing was done: it is done by now." in answer.content.decode()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:x", ""])
def test_nobody_is_led_elsewhere(back: str, client: Client, clerk: User, dead: Delivery) -> None:
    answer = act(client, "support-replay", dead.pk, reason="x", back=back)

    assert answer["Location"] == LOOK_UP


def test_buttons_need_a_post_with_the_token(clerk: User, dead: Delivery) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(clerk)

    assert strict.get(reverse("support-replay", args=[dead.pk])).status_code == 405
    assert act(strict, "support-replay", dead.pk, reason="x").status_code == 403
    dead.refresh_from_db()
    assert dead.state == DeliveryState.DEAD


# --- Who may --------------------------------------------------------------------------------------

BUTTONS = {
    "support-replay": "replay_delivery",
    "support-skip": "skip_delivery",
    "support-resume": "pause_receiver",
}


@pytest.mark.parametrize("name", BUTTONS)
def test_each_button_needs_its_right(name: str, client: Client, dead: Delivery) -> None:
    ReceiverState.objects.update_or_create(name=RECORD, defaults={"paused_by": "ada"})
    place = RECORD if name == "support-resume" else dead.pk
    log_in(client, *READ, *set(BUTTONS.values()) - {BUTTONS[name]})

    refused = act(client, name, place, reason="x")
    shown = client.get(event_page(dead.event_id)).content.decode()

    assert refused.status_code == 403
    assert reverse(name, args=[place]) not in shown
    assert not LogEntry.objects.exists()


def test_who_may_only_read_is_told_to_hand_it_on(client: Client, dead: Delivery) -> None:
    log_in(client, *READ)

    page = client.get(event_page(dead.event_id)).content.decode()

    assert "hand it to whoever is on call" in page
    assert 'name="reason"' not in page


@pytest.mark.parametrize("lacking", ["view_event", "view_delivery"])
def test_pages_need_the_rights_to_read(lacking: str, client: Client, dead: Delivery) -> None:
    log_in(client, *set(READ) - {lacking})

    assert client.get(LOOK_UP).status_code == 403
    assert client.get(event_page(dead.event_id)).status_code == 403
    assert "support" not in client.get("/admin/").content.decode().lower()


def test_strangers_are_led_to_the_login(client: Client, dead: Delivery) -> None:
    for path in (LOOK_UP, event_page(dead.event_id)):
        assert client.get(path)["Location"].startswith("/admin/login/")
    assert act(client, "support-replay", dead.pk, reason="x").status_code == 302
    dead.refresh_from_db()
    assert dead.state == DeliveryState.DEAD


# --- The way there --------------------------------------------------------------------------------


def test_the_pages_of_accounts_events_and_deliveries_link_to_their_stories(
    client: Client, clerk: User, unlucky: User
) -> None:
    event = Event.objects.latest("position")

    front = client.get("/admin/").content.decode()
    account = client.get(reverse("admin:accounts_user_change", args=[unlucky.pk]))
    log = client.get(reverse("admin:events_event_change", args=[event.pk]))
    owed = Delivery.objects.filter(event=event)[0]
    delivery = client.get(reverse("admin:events_delivery_change", args=[owed.pk]))

    assert f'href="{LOOK_UP}"' in front
    assert person_page(unlucky) in account.content.decode()
    assert event_page(event.event_id) in log.content.decode()
    assert event_page(event.event_id) in delivery.content.decode()


def test_the_catalogue_is_a_page_for_whoever_may_view_events(client: Client) -> None:
    log_in(client, "view_delivery")
    refused = client.get("/admin/catalogue/").status_code
    log_in(client, "view_event")

    page = client.get("/admin/catalogue/").content.decode()

    assert refused == 403
    assert 'href="/admin/catalogue/"' in client.get("/admin/").content.decode()
    assert "accounts.user_registered" in page
    assert "minor units" in page
    assert "exactly_once, queue coupons, batches" in page


def test_the_page_speaks_the_reader_s_language(client: Client, clerk: User, unlucky: User) -> None:
    answer = client.get(f"/admin/support/accounts/{unlucky.pk}/", HTTP_ACCEPT_LANGUAGE="zh-hans")

    page = answer.content.decode()
    assert "在 16 次尝试后成为死信。" in page
    assert "最后一次错误：OSError: disk full。" in page
    assert "请先排除原因，然后 <code>manage.py replay " in page
    assert "账号已创建" in page
