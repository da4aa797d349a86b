"""Open pages outlast the database: their sockets stay, and hear afterwards what they missed."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from tests.processes import ROOT, answers, environment, wait_until, web_server
from tests.project.test_live import dial
from tests.servers.client import Server, paused, stopped

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.database("postgres"),
]

MAKE_A_PERSON = """
from django.test import Client
from tests.faults.world import register
mei, client = register("mei@example.com"), Client()
client.force_login(mei)
print(mei.pk, client.cookies["sessionid"].value)
"""
PUBLISH = """
import sys
from django.db import transaction
from tests.probe.signals import Happened, happened
with transaction.atomic():
    print(happened.publish(Happened(key=sys.argv[1], number=1)).id)
"""


def python(database_url: str, source: str, *arguments: str) -> list[str]:
    """Run Python source on a database; return the words it prints."""
    source = f"import django; django.setup()\n{source}"
    command = [sys.executable, "-c", source, *arguments]
    environ = environment(DATABASE_URL=database_url)
    done = subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)
    return done.stdout.decode().split()


@pytest.mark.parametrize("outage", [stopped, paused])
def test_a_page_outlasts_an_outage(
    outage: Callable[[Server], Any], private_postgres: Server
) -> None:
    url = private_postgres.url
    migrate = [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=environment(DATABASE_URL=url), check=True)
    person, session_key = python(url, MAKE_A_PERSON)

    with web_server(DATABASE_URL=url) as address, dial(address, session_key) as page:
        first = python(url, PUBLISH, person)
        heard_first = next_hint(page)
        with outage(private_postgres):
            assert status_of(f"{address}/readyz") == 503
            assert answers(f"{address}/livez")
        second = python(url, PUBLISH, person)
        heard_second = next_hint(page)
        wait_until(lambda: status_of(f"{address}/readyz") == 200)
        with dial(address, session_key):
            pass

    assert [[heard_first], [heard_second]] == [first, second]


def next_hint(page: ClientConnection) -> str:
    """Return the id of the next event that a page hears of; heartbeats may come before it."""
    while True:
        told = json.loads(page.recv(timeout=60))
        if told != {"type": "live.heartbeat"}:
            return str(told["id"])


def status_of(url: str) -> int:
    """Return with what status a URL is answered."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
