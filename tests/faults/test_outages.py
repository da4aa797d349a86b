"""Whatever is broken behind it, a sign-up is answered the same; and all is delivered afterwards."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from redis import Redis

from coupons.models import Coupon
from events.models import Delivery
from tests.conftest import Drain
from tests.faults.world import PASSWORD, open_campaign_and_rule
from tests.probe.models import Fault
from tests.probe.sabotage import COUPONS, SABOTAGE
from tests.processes import wait_until, web_server, worker
from tests.servers.client import Server, paused, stopped

QUEUES = ("coupons", "points")
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


def sign_up(address: str, email: str, referral_code: str) -> tuple[int, dict[str, Any]]:
    """Register by the API; return the status and the body without what differs by nature."""
    body = {"email": email, "password": PASSWORD, "referral_code": referral_code}
    request = urllib.request.Request(
        f"{address}/api/v1/registrations/",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answered: dict[str, Any] = json.load(answer)
    for varying in ("id", "registered_at"):
        assert answered.pop(varying)
    return answer.status, answered


def expected(email: str) -> tuple[int, dict[str, Any]]:
    """Return the answer of a healthy system."""
    return 201, {"email": email, "referral": {"applied": True, "reason": None}}


def everybody_has_a_coupon() -> bool:
    """Tell whether the inviter and the two who sign up have theirs, and nothing is left over."""
    left_over = Delivery.objects.filter(queue__in=QUEUES).exclude(state="done")
    return Coupon.objects.count() == 3 and not left_over.exists()


def test_without_a_worker_the_answer_is_the_same(drain: Drain) -> None:
    inviter = open_campaign_and_rule(drain)
    emails = ["b@example.com", "c@example.com"]

    with web_server() as address:
        answers = [sign_up(address, email, inviter.referral_code) for email in emails]

    assert answers == [expected(email) for email in emails]
    with worker(*QUEUES):
        wait_until(everybody_has_a_coupon)


@pytest.mark.parametrize("kind", ["raise", "hang"])
def test_with_a_receiver_that_fails_the_answer_is_the_same(kind: str, drain: Drain) -> None:
    inviter = open_campaign_and_rule(drain)
    emails = ["b@example.com", "c@example.com"]
    fault = Fault.objects.create(number=COUPONS, kind=kind)

    with web_server() as address, worker(*QUEUES, **{SABOTAGE: "1"}):
        answers = [sign_up(address, emails[0], inviter.referral_code)]
        failing = Delivery.objects.filter(receiver="coupons.issue_welcome_coupons", attempts__gte=1)
        wait_until(failing.exclude(last_error="").exists)
        answers.append(sign_up(address, emails[1], inviter.referral_code))
        fault.delete()
        wait_until(everybody_has_a_coupon)

    assert answers == [expected(email) for email in emails]


@contextmanager
def full(server: Server) -> Iterator[None]:
    """Run a block with a server that refuses to store anything."""
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        yield
        client.config_set("maxmemory", "0")


@contextmanager
def wiped(server: Server) -> Iterator[None]:
    """Run a block, and wipe the server at its end."""
    yield
    with Redis.from_url(server.url) as client:
        client.flushall()


@pytest.mark.database("postgres")  # any would do: once is enough
@pytest.mark.parametrize(
    "outage", [stopped, paused, *(pytest.param(o, marks=pytest.mark.long) for o in (full, wiped))]
)
def test_with_the_queue_server_away_the_answer_is_the_same(
    outage: Any, drain: Drain, private_valkey: Any
) -> None:
    inviter = open_campaign_and_rule(drain)
    emails = ["b@example.com", "c@example.com"]
    broker = {"QUEUE_BROKER": "redis", "REDIS_URL": private_valkey.url}

    with ExitStack() as stack:
        address = stack.enter_context(web_server(**broker))
        stack.enter_context(worker(*QUEUES, **broker))
        with outage(private_valkey):
            answers = [sign_up(address, email, inviter.referral_code) for email in emails]
        wait_until(everybody_has_a_coupon)

    assert answers == [expected(email) for email in emails]
