"""Links between our processes and their servers are slow, cut or silent, and nothing is lost."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from django.db import connection

from accounts.models import User
from events.models import Delivery
from tests.conftest import Drain
from tests.faults.checks import check_everything
from tests.faults.proxy import Conditions, Link, link_to
from tests.faults.test_outages import expected, sign_up
from tests.faults.world import PASSWORD, open_campaign_and_rule
from tests.processes import database_url, wait_until, web_server, worker
from tests.servers.client import Server

QUEUES = ("accounts", "coupons", "points", "relay", "mails", "greetings")
BOUND_S = 20.0  # for an answer while the database is silent; see the timeouts in settings
LONG_S = 90.0
COMMIT = b"COMMIT\x00"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
of_postgres = pytest.mark.database("postgres")


@pytest.fixture
def database_link() -> Iterator[Link]:
    """Return a link to this test's PostgreSQL."""
    database = connection.settings_dict
    with link_to(database["HOST"], int(database["PORT"])) as link:
        yield link


@pytest.fixture
def valkey_link(valkey_server: Server) -> Iterator[Link]:
    """Return a link to the Valkey all tests share."""
    with link_to(valkey_server.host, valkey_server.port) as link:
        yield link


def through(link: Link) -> dict[str, str]:
    """Return the environment of processes that reach the database over a link."""
    return {"DATABASE_URL": link.url(database_url())}


def status_of(address: str, email: str, code: str) -> int:
    """Return how a sign-up is answered, whatever the answer is."""
    body = {"email": email, "password": PASSWORD, "referral_code": code}
    request = urllib.request.Request(
        f"{address}/api/v1/registrations/",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def all_is_delivered() -> bool:
    """Tell whether nothing is left to do for those who signed up."""
    return not Delivery.objects.filter(finished_at__isnull=True).exists()


@of_postgres
def test_over_a_slow_link_to_the_database_the_answer_is_the_same(
    database_link: Link, drain: Drain
) -> None:
    inviter = open_campaign_and_rule(drain)
    database_link.conditions.latency_s = 0.01
    database_link.conditions.jitter_s = 0.01
    database_link.conditions.bytes_per_s = 200_000

    with web_server(**through(database_link)) as address, worker(*QUEUES, **through(database_link)):
        answer = sign_up(address, "b@example.com", inviter.referral_code)
        wait_until(all_is_delivered, LONG_S)

    assert answer == expected("b@example.com")
    assert check_everything() == []


@of_postgres
def test_a_link_cut_after_the_commit_was_sent_leads_to_no_false_answer_and_one_account(
    database_link: Link, drain: Drain
) -> None:
    inviter = open_campaign_and_rule(drain)

    with web_server(**through(database_link)) as address:
        sign_up(address, "warm@example.com", "")
        database_link.cut_when(lambda sent: COMMIT in sent)
        first = status_of(address, "b@example.com", inviter.referral_code)
        again = status_of(address, "b@example.com", inviter.referral_code)

    assert database_link.is_cut
    assert (first, again) == (503, 409)  # it was stored, which nobody could know
    assert User.objects.filter(email="b@example.com").count() == 1
    drain()
    assert check_everything() == []


@of_postgres
@pytest.mark.parametrize("count", [1, 2000, 5000])
def test_a_link_cut_anywhere_in_a_sign_up_leaves_it_complete_or_absent(
    count: int, database_link: Link, drain: Drain
) -> None:
    inviter = open_campaign_and_rule(drain)

    with web_server(**through(database_link)) as address:
        sign_up(address, "warm@example.com", "")
        database_link.cut_after(count)
        status = status_of(address, "b@example.com", inviter.referral_code)
        again = status_of(address, "b@example.com", inviter.referral_code)

    assert database_link.is_cut
    assert status in {201, 503}
    assert again in ({409} if status == 201 else {201, 409})
    drain()
    assert check_everything() == []


@of_postgres
def test_a_silent_link_to_the_database_is_a_503_in_time_and_works_again_afterwards(
    database_link: Link, drain: Drain
) -> None:
    inviter = open_campaign_and_rule(drain)

    with web_server(**through(database_link)) as address, worker(*QUEUES, **through(database_link)):
        sign_up(address, "warm@example.com", "")
        database_link.conditions.is_black_hole = True
        started = time.monotonic()
        silent = status_of(address, "b@example.com", inviter.referral_code)
        took_s = time.monotonic() - started
        database_link.conditions.is_black_hole = False
        wait_until(lambda: status_of(address, "b@example.com", "") in {201, 409}, LONG_S)
        wait_until(all_is_delivered, LONG_S)

    assert silent == 503
    assert took_s < BOUND_S
    assert check_everything() == []


def fall_silent(link: Link) -> None:
    """Let nothing arrive any more."""
    link.conditions.is_black_hole = True


def refuse(link: Link) -> None:
    """Reset what is open, and whatever is opened."""
    link.conditions.refuses = True
    link.reset()


def become_slow(link: Link) -> None:
    """Take longer than whoever rings a bell waits."""
    link.conditions.latency_s = 0.3


def cut(link: Link) -> None:
    """Reset the connection that is used next."""
    link.cut_after(1)


@pytest.mark.long
@pytest.mark.database("sqlite")  # any would do: once is enough
@pytest.mark.parametrize("go_wrong", [fall_silent, refuse, become_slow, cut])
def test_whatever_the_link_to_the_queue_is_like_the_answer_is_the_same(
    go_wrong: Callable[[Link], None], valkey_link: Link, valkey_server: Server, drain: Drain
) -> None:
    inviter = open_campaign_and_rule(drain)
    broker = {"QUEUE_BROKER": "redis", "REDIS_URL": valkey_link.url(valkey_server.url)}
    emails = ["b@example.com", "c@example.com"]

    with ExitStack() as stack:
        address = stack.enter_context(web_server(**broker))
        stack.enter_context(worker(*QUEUES, **broker))
        sign_up(address, "warm@example.com", "")
        go_wrong(valkey_link)
        answers = [sign_up(address, email, inviter.referral_code) for email in emails]
        valkey_link.conditions = Conditions()
        wait_until(all_is_delivered, LONG_S)

    assert answers == [expected(email) for email in emails]
    assert check_everything() == []
