"""The server's addresses for sockets, and what answers at them."""

from typing import Any

import pytest
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from project.live import sockets
from tests.conftest import Publish
from tests.processes import web_server
from tests.registrations import make_person
from tests.sockets import Page, run, session_of

pytestmark = pytest.mark.django_db(transaction=True)


def dial(address: str, session_key: str = "", path: str = "/ws/live/") -> ClientConnection:
    """Connect as a browser does that shows one of our pages."""
    cookie = {"Cookie": f"sessionid={session_key}"} if session_key else {}
    url = address.replace("http", "ws", 1) + path
    return connect(url, origin=Origin(address), additional_headers=cookie)


@pytest.mark.parametrize("path", ["/", "/ws/", "/ws/live", "/ws/live/more/", "/wallet/"])
def test_there_are_sockets_at_one_address_alone(path: str) -> None:
    session_key = session_of(make_person())

    async def scenario() -> bool:
        return await Page(sockets(), session_key, path=path).is_accepted()

    assert not run(scenario)


def test_who_asks_for_a_page_there_finds_none(client: Client) -> None:
    assert client.get("/ws/live/").status_code == 404


def test_a_real_server_tells_a_page_until_its_person_logs_out(publish: Publish) -> None:
    mei = make_person()
    session_key = session_of(mei)
    browser: Any = Client()
    browser.cookies["sessionid"] = session_key

    with web_server() as address:
        for path, key in (("/ws/live/", ""), ("/elsewhere/", session_key)):
            with pytest.raises(InvalidStatus) as refused:
                dial(address, key, path)
            assert refused.value.response.status_code == 403
        with dial(address, session_key) as page:
            event = publish(1, str(mei.pk))
            heard = page.recv(timeout=30)
            browser.post("/accounts/logout/")
            with pytest.raises(ConnectionClosed) as closed:
                page.recv(timeout=30)

    assert heard == f'{{"type": "probe.happened", "id": "{event.id}"}}'
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
