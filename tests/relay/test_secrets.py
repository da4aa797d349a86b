"""What an endpoint keeps to itself is told by no row, no page and no line of a log.

Its password and its secrets, that is, before and after they are replaced, whatever the other side
answers. Only the page that follows a new secret shows it, once.
"""

import html
import logging
import socketserver
import threading
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

import pytest
import redis
from django.apps import apps
from django.test import Client

from accounts.models import User
from events.models import Attempt, Delivery, DeliveryState
from relay.endpoints import Endpoint
from relay.sealing import unseal
from relay.services import SEND_RECEIVER
from relay.transport import EXCERPT_LENGTH, MASK
from tests.conftest import Drain
from tests.probe.observe import make_due
from tests.relay.brokers import ValkeyBroker, valkey_broker
from tests.relay.conftest import Register
from tests.relay.partner import Handler, Partner, Received

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_at_home")]

PASSWORD = "canary/of the endpoint"
LOGIN = f"usher:{quote(PASSWORD, safe='')}@"
LISTING = "/admin/relay/endpoint/"
OUR_LOGGERS = (None, "events", "accounts", "coupons", "points", "relay", "project")


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser that a superuser is logged in with."""
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    return client


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what is logged from now on, details as well."""
    for name in OUR_LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.fixture
def broker() -> Iterator[ValkeyBroker]:
    """Return a Valkey that knows nobody yet."""
    with valkey_broker() as broker:
        yield cast(ValkeyBroker, broker)


@pytest.fixture
def echo() -> Iterator[str]:
    """Return the place of a server that answers in Redis's protocol with what it heard."""

    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while heard := self.request.recv(65536).decode():
                words = " ".join(heard.split("\r\n"))
                self.request.sendall(f"-ERR unknown command {words}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def create(staff: Client, url: str) -> Endpoint:
    """Create an endpoint in the admin site."""
    form = {
        "name": "CRM",
        "url": url,
        "event_types": ["accounts.user_registered"],
        "owner_email": "owner@example.com",
        "max_attempts": "8",
        "schedule_s": "[0, 60]",
    }
    staff.post(f"{LISTING}add/", form)
    return Endpoint.objects.get()


def act(staff: Client, action: str, endpoint: Endpoint) -> None:
    """Run an action on an endpoint in the admin site."""
    staff.post(LISTING, {"action": action, "_selected_action": [str(endpoint.pk)]}, follow=True)


def delete(staff: Client, endpoint: Endpoint) -> None:
    """Delete an endpoint in the admin site."""
    staff.post(f"{LISTING}{endpoint.pk}/delete/", {"post": "yes"})
    assert not Endpoint.objects.exists()


def secret_of(endpoint: Endpoint) -> str:
    """Return an endpoint's present secret."""
    endpoint.refresh_from_db()
    return unseal(endpoint.sealed_secret)


def try_again(drain: Drain) -> None:
    """Send what is owed, though the endpoint rests."""
    Endpoint.objects.update(rests_until=None)
    make_due()
    drain()


def pages(staff: Client, endpoint: Endpoint) -> str:
    """Return the pages that speak of an endpoint, of its deliveries and of their attempts."""
    sends = Delivery.objects.filter(receiver=SEND_RECEIVER)
    paths = [LISTING, "/admin/", "/admin/events/attempt/", "/admin/admin/logentry/"]
    paths += [f"{LISTING}{endpoint.pk}/{page}/" for page in ("change", "history", "delete")]
    paths += [f"/admin/events/delivery/?receiver={SEND_RECEIVER}&target={endpoint.pk}"]
    paths += [f"/admin/events/delivery/{each.pk}/change/" for each in sends]
    paths += [f"/admin/events/event/{each.event_id}/change/" for each in sends]
    paths += [f"/admin/events/attempt/{each.pk}/change/" for each in Attempt.objects.all()]
    answers = [staff.get(path, follow=True) for path in paths]
    assert {answer.status_code for answer in answers} == {200}
    return html.unescape("\n".join(answer.content.decode() for answer in answers))


def rows() -> str:
    """Return every column of every row of every table."""
    return "\n".join(
        repr(row) for model in apps.get_models() for row in model._base_manager.values()
    )


def lines(log: pytest.LogCaptureFixture) -> str:
    """Return all that was logged, with what records carry along."""
    return "\n".join([log.text, *[repr(vars(record)) for record in log.records]])


def check_untold(confidential: list[str], told: dict[str, str]) -> None:
    """Check that nothing of what is confidential is in what was told, as it is or quoted."""
    forms = {form for each in confidential for form in (each, quote(each), quote(each, safe=""))}
    found = [(where, form) for where, text in told.items() for form in forms if form in text]
    assert found == []
    assert all(told.values())


def test_a_password_and_secrets_are_kept_through_an_endpoints_life(
    staff: Client,
    drain: Drain,
    broker: ValkeyBroker,
    register: Register,
    log: pytest.LogCaptureFixture,
) -> None:
    endpoint = create(staff, broker.url.replace("://", f"://{LOGIN}"))
    confidential = [PASSWORD, secret_of(endpoint)]
    register()
    drain()
    assert "AuthenticationError" in Attempt.objects.get().error_message
    act(staff, "rotate", endpoint)
    confidential.append(secret_of(endpoint))
    let_in(broker)
    try_again(drain)
    act(staff, "send_test", endpoint)
    drain()
    assert set(sends().values_list("state", flat=True)) == {DeliveryState.DONE}
    assert len(set(confidential)) == sends().count() + 1 == 3

    told = {"pages": pages(staff, endpoint), "rows": rows()}
    delete(staff, endpoint)

    told |= {"rows after": rows(), "log": lines(log)}
    check_untold(confidential, told)


def test_secrets_are_kept_where_a_receiver_answers_with_all_it_got(
    staff: Client,
    drain: Drain,
    partner: Partner,
    register: Register,
    log: pytest.LogCaptureFixture,
) -> None:
    statuses = iter([500, 200, 200])

    def echo(handler: Handler, received: Received) -> None:
        handler.reply(next(statuses), repr(received.headers).encode() + received.body)

    partner.answer = echo
    endpoint = create(staff, partner.url)
    confidential = [secret_of(endpoint)]
    act(staff, "rotate", endpoint)
    confidential.append(secret_of(endpoint))
    register()
    drain()
    assert "answered 500: {'host'" in Attempt.objects.get().error_message
    try_again(drain)
    act(staff, "send_test", endpoint)
    drain()
    assert len(partner.received) == 3

    told = {"pages": pages(staff, endpoint), "rows": rows()}
    delete(staff, endpoint)

    told |= {"rows after": rows(), "log": lines(log)}
    check_untold(confidential, told)


def test_a_password_is_kept_where_a_broker_answers_with_all_it_heard(
    staff: Client, drain: Drain, echo: str, register: Register, log: pytest.LogCaptureFixture
) -> None:
    endpoint = create(staff, f"redis://{LOGIN}{echo}/0")
    register()

    drain()

    assert "unknown command" in Attempt.objects.get().error_message
    told = {"pages": pages(staff, endpoint), "rows": rows(), "log": lines(log)}
    check_untold([PASSWORD, secret_of(endpoint)], told)


def test_no_part_of_a_secret_is_kept_where_the_text_of_an_answer_is_cut(
    staff: Client, drain: Drain, partner: Partner, register: Register
) -> None:
    def repeat(handler: Handler, received: Received) -> None:
        handler.reply(500, b"." * (EXCERPT_LENGTH - 40) + secret.encode())

    endpoint = create(staff, partner.url)
    secret = secret_of(endpoint)
    partner.answer = repeat
    register()

    drain()

    text = Attempt.objects.get().error_message
    assert text.endswith(f".{MASK}")
    assert secret[:3] not in text


def let_in(broker: ValkeyBroker) -> None:
    """Let the broker know the user with the password."""
    with redis.Redis.from_url(broker._server.url) as client:
        client.acl_setuser(
            "usher", enabled=True, passwords=[f"+{PASSWORD}"], commands=["+@all"], keys=["*"]
        )


def sends() -> Any:
    """Return the deliveries to endpoints."""
    return Delivery.objects.filter(receiver=SEND_RECEIVER)
