"""The wallet shows what is there, and says what is still on its way."""

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import services
from accounts.models import User
from accounts.queries import invite_url
from coupons.models import Coupon
from events.models import Delivery, DeliveryState
from events.operations.replay import replay
from events.operations.selection import Selection
from points.queries import REWARD_RECEIVER
from points.rewards import RewardRule
from project import views, wallet
from project.wallet import Underway, qr_code
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_person

pytestmark = pytest.mark.django_db(transaction=True)

LATE = "longer than usual"
PASSWORD = "a long enough one"
QUESTIONS = 12  # that a wallet asks the database
ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def register(email: str, inviter: User | None = None) -> User:
    """Register somebody, through somebody's link or without."""
    code = inviter.referral_code if inviter else ""
    return services.register(email=email, password=PASSWORD, referral_code=code).user


def wallet_of(user: User) -> str:
    """Return a person's wallet page."""
    client = Client()
    client.force_login(user)
    return client.get("/wallet/").content.decode()


def long_ago(*people: User, seconds: int = 60) -> None:
    """Let people have registered some time ago."""
    when = timezone.now() - timedelta(seconds=seconds)
    User.objects.filter(pk__in=[person.pk for person in people]).update(registered_at=when)


def parts_of(user: User, client: Client | None = None, **headers: str) -> Any:
    """Ask for the parts of a person's open wallet."""
    if client is None:
        client = Client()
        client.force_login(user)
    return client.get("/wallet/parts/", {"of": str(user.pk)}, headers=headers)


def test_a_coupon_that_is_on_its_way_and_then_there(drain: Drain) -> None:
    make_campaign(name="Winter welcome")
    user = register("mei@example.com")

    before = wallet_of(user)
    drain()
    after = wallet_of(user)

    assert "on its way" in before
    assert 'data-look-after="1"' in before
    assert LATE not in before
    assert "on its way" not in after
    assert "data-look-after" not in after
    assert Coupon.objects.get(user=user).code in after
    assert "Winter welcome" in after
    assert "10% off" in after


def test_points_that_are_on_their_way_and_then_there(drain: Drain) -> None:
    RewardRule.objects.create(version=1, points=1250)
    inviter = register("mei@example.com")
    drain()
    register("friend@example.com", inviter)

    before = wallet_of(inviter)
    drain()
    after = wallet_of(inviter)

    assert "on their way" in before
    assert 'data-look-after="1"' in before
    assert "on their way" not in after
    assert "data-look-after" not in after
    assert "1,250" in after


@pytest.mark.parametrize("question", range(QUESTIONS))
def test_what_arrives_while_a_wallet_is_read_is_in_it_or_on_its_way(
    question: int, drain: Drain
) -> None:
    """Otherwise the page says that there is nothing, and without JavaScript has no way on."""
    make_campaign()
    RewardRule.objects.create(version=1, points=1250)
    inviter = register("mei@example.com")
    register("friend@example.com", inviter)

    with acting_after(question, drain):
        seen = wallet.wallet_of(inviter)

    assert seen.coupons or seen.coupon_underway
    assert seen.points.balance == 1250 or seen.rewards_underway


@contextmanager
def acting_after(question: int, act: Callable[[], object]) -> Iterator[None]:
    """Do something as soon as the database has answered a question, by its number from 0."""
    answered = itertools.count()
    acting = False

    def ask(execute: Callable[..., Any], *asked: Any) -> Any:
        nonlocal acting
        answer = execute(*asked)
        if not acting and next(answered) == question:
            acting = True
            act()
            acting = False
        return answer

    with connection.execute_wrapper(ask):
        yield
    count = next(answered)
    assert question < count, "there was no such question"
    assert question < QUESTIONS - 1 or count == QUESTIONS, "there are questions that are not tried"


@pytest.mark.parametrize(
    ("waited_s", "is_late", "asks"),
    [
        (2, False, 'data-look-after="1"'),
        (20, True, 'data-look-after="3"'),
        (120, True, 'data-look-after="15"'),
        (1200, True, ""),
    ],
)
def test_the_longer_something_takes_the_less_often_a_page_asks(
    waited_s: int, is_late: bool, asks: str
) -> None:
    make_campaign()
    inviter = register("mei@example.com")
    friend = register("friend@example.com", inviter)
    long_ago(inviter, friend, seconds=waited_s)

    for html in (wallet_of(inviter), wallet_of(friend)):
        assert (LATE in html) == is_late
        assert asks in html
        assert ("data-look-after" in html) == bool(asks)


def test_a_page_reloads_by_itself_for_nobody() -> None:
    make_campaign()

    html = wallet_of(register("mei@example.com"))

    assert "http-equiv" not in html
    assert f'<noscript><a href="{reverse("wallet")}">Look again</a></noscript>' in html


def test_a_campaign_that_was_made_later_with_an_earlier_start_promises_nothing(
    drain: Drain,
) -> None:
    user = register("mei@example.com")
    drain()

    make_campaign()

    html = wallet_of(user)
    assert "on its way" not in html
    assert "longer than usual" not in html


def test_a_reward_that_staff_skipped_promises_nothing(drain: Drain) -> None:
    inviter = register("mei@example.com")
    register("friend@example.com", inviter)
    Delivery.objects.update(
        state="skipped", due_at=None, finished_at=timezone.now(), skipped_by="staff"
    )

    html = wallet_of(inviter)

    assert "on their way" not in html
    assert "longer than usual" not in html


def test_a_reward_that_was_decided_promises_nothing_while_it_is_replayed(drain: Drain) -> None:
    inviter = register("mei@example.com")
    register("friend@example.com", inviter)
    drain()

    replay(Selection(receiver=REWARD_RECEIVER, state=DeliveryState.DONE))

    assert Delivery.objects.filter(receiver=REWARD_RECEIVER, state="pending").exists()
    assert "on their way" not in wallet_of(inviter)


def test_what_is_dead_is_late_and_not_lost() -> None:
    make_campaign()
    inviter = register("mei@example.com")
    friend = register("friend@example.com", inviter)
    Delivery.objects.update(state="dead", due_at=None)
    long_ago(inviter, friend)

    for html in (wallet_of(inviter), wallet_of(friend)):
        assert "It is not lost" in html


def test_of_a_crowd_of_invited_people_the_newest_are_asked_about_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wallet, "UNDERWAY_LIMIT", 3)
    inviter = register("mei@example.com")
    first = [register(f"friend{number}@example.com", inviter) for number in range(3)]
    few, few_asked = rewards_underway(inviter)
    newest = [register(f"later{number}@example.com", inviter) for number in range(3)]
    long_ago(*first)

    many, many_asked = rewards_underway(inviter)

    assert (few.count, many.count) == (3, 3)
    assert not many.is_late  # the newest are not
    assert len(few_asked) == len(many_asked)
    (about_deliveries,) = [sql for sql in many_asked if REWARD_RECEIVER in sql]
    assert {str(friend.pk) for friend in newest} == set(re.findall(ID, about_deliveries))


def rewards_underway(inviter: User) -> tuple[Underway, list[str]]:
    """Return what is to be decided about whom a person invited, and the statements that took."""
    with CaptureQueriesContext(connection) as asked:
        underway = wallet.wallet_of(inviter).rewards_underway
    assert underway is not None
    return underway, [query["sql"] for query in asked.captured_queries]


def test_an_open_page_gets_the_parts_that_a_reload_would_show(drain: Drain) -> None:
    make_campaign(name="Winter welcome")
    RewardRule.objects.create(version=1, points=1250)
    inviter = register("mei@example.com")
    register("friend@example.com", inviter)
    drain()

    parts, page = parts_of(inviter).content.decode(), wallet_of(inviter)

    sections = re.findall(r"<section id=.*?</section>", parts, re.DOTALL)
    assert len(sections) == 3
    assert all(section in page for section in sections)
    assert Coupon.objects.get(user=inviter).code in parts
    assert "1,250" in parts


def test_what_a_page_has_already_is_not_sent_again(drain: Drain) -> None:
    make_campaign()
    user = register("mei@example.com")
    client = Client()
    client.force_login(user)

    first = parts_of(user, client)
    same = parts_of(user, client, if_none_match=first["ETag"])
    drain()
    other = parts_of(user, client, if_none_match=first["ETag"])

    assert (first.status_code, same.status_code, other.status_code) == (200, 304, 200)
    assert same.content == b""
    for answer in (first, same, other):
        assert {"no-store", "private"} <= set(answer["Cache-Control"].split(", "))


def test_the_parts_of_a_wallet_are_for_whose_page_it_is_and_who_is_logged_in() -> None:
    mei, lin = make_person(), make_person()
    client = Client()

    anonymous = parts_of(mei, client)
    nobody = client.get("/wallet/parts/", {"of": "None"})
    client.force_login(lin)
    others = parts_of(mei, client)
    nobodys = client.get("/wallet/parts/")

    answers = (anonymous, nobody, others, nobodys)
    assert [answer.status_code for answer in answers] == [403] * 4
    assert all(b"<section" not in answer.content for answer in answers)


def test_no_text_is_in_the_scripts() -> None:
    for name in ("live.js", "wallet.js"):
        code = (settings.BASE_DIR / "static" / name).read_text()
        code = re.sub(r"(^|\s)//.*", "", code)
        texts = {text for text in re.findall(r'"([^"\n]*)"', code) if " " in text}
        assert texts <= {" ", "use strict", "[data-copy], [data-share]"}


def test_only_a_server_that_has_sockets_is_asked_for_one(rf: RequestFactory) -> None:
    user = make_person()
    answers = []
    for factory in (rf, AsyncRequestFactory()):
        request = factory.get("/wallet/")
        request.user = user
        answers.append(views.wallet(request).content.decode())

    assert 'data-socket=""' in answers[0]
    assert 'data-socket="/ws/live/"' in answers[1]


def test_the_invite_link_is_there_to_copy() -> None:
    user = make_person()

    assert f'value="http://127.0.0.1:8000/i/{user.referral_code}/"' in wallet_of(user)


def test_a_wallet_is_nobody_elses() -> None:
    coupon = make_coupon(make_campaign(), make_person())

    assert coupon.code not in wallet_of(make_person())


def test_a_wallet_is_kept_by_no_cache(client: Client) -> None:
    client.force_login(make_person())

    assert {"no-store", "private"} <= set(client.get("/wallet/")["Cache-Control"].split(", "))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["usable"]),
        ({"status": "redeemed"}, ["redeemed"]),
        ({"status": "revoked"}, ["revoked"]),
        ({"suspended_at": timezone.now()}, ["suspended"]),
        ({"valid_from": timezone.now() + timedelta(hours=5)}, ["upcoming", "Valid from"]),
        ({"valid_until": timezone.now() - timedelta(hours=5)}, ["expired"]),
    ],
)
def test_the_state_of_a_coupon_is_said_in_words(given: dict[str, Any], words: list[str]) -> None:
    user = make_person()
    make_coupon(make_campaign(), user, **given)

    html = wallet_of(user)

    assert all(word in html for word in words)


def test_a_full_wallet_costs_no_more_queries_than_a_small_one(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    user = make_person()
    for _ in range(10):
        make_coupon(make_campaign(), user)
    client.force_login(user)

    for path in ("/wallet/", f"/wallet/parts/?of={user.pk}"):
        with django_assert_max_num_queries(16):
            assert client.get(path).status_code == 200


def test_the_invite_link_is_drawn_as_a_qr_code() -> None:
    user = make_person()

    page = wallet_of(user)

    assert qr_code(invite_url(user.referral_code)) in page
    assert 'aria-label="A QR code of this link"' in page


@pytest.mark.parametrize(("expires_in_days", "is_offered"), [(1, True), (-1, False)])
def test_only_a_code_that_is_of_use_is_offered_to_be_copied(
    expires_in_days: int, is_offered: bool
) -> None:
    user = make_person()
    now = timezone.now()
    coupon = make_coupon(
        make_campaign(),
        user,
        valid_from=now - timedelta(days=2),
        valid_until=now + timedelta(days=expires_in_days),
    )

    page = wallet_of(user)

    assert coupon.code in page
    assert (f'data-copy="code-{coupon.code}"' in page) == is_offered


def test_the_icon_is_found_by_its_old_name() -> None:
    answer = Client().get("/favicon.ico", follow=True)

    assert answer.redirect_chain[-1][0].endswith(".svg")
