"""`me/referrals/` and the wallet show whom a person invited, masked, with the reward."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.closing import CloseReason, close_account
from accounts.models import User
from points.rewards import RewardRule
from tests.conftest import Drain
from tests.project.test_wallet import register, wallet_of
from tests.registrations import make_people, make_person, refer

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/me/referrals/"


def client_of(user: User) -> APIClient:
    """Return a client of the API as which somebody is logged in."""
    client = APIClient()
    client.force_authenticate(user)
    return client


def test_people_are_listed_with_their_reward(drain: Drain) -> None:
    RewardRule.objects.create(version=1, points=100, cap_total=1)
    mei = register("mei@example.com")
    for name in ("tom", "ann"):
        register(f"{name}@example.org", mei)
        drain()
    register("li@example.co.uk", mei)

    latest, second, first = client_of(mei).get(URL).json()["results"]

    assert first == {
        "registered_at": first["registered_at"],
        "invitee": "t•••@e•••.org",
        "status": "approved",
        "reward": {"outcome": "granted", "points": 100, "reason": ""},
    }
    assert second["reward"] == {"outcome": "skipped", "points": 0, "reason": "cap_total"}
    assert (latest["invitee"], latest["reward"]) == ("l•••@e•••.uk", None)


def test_who_closed_their_account_is_a_dash(drain: Drain) -> None:
    mei = register("mei@example.com")
    friend = register("tom@example.org", mei)
    close_account(user_id=friend.pk, reason=CloseReason.REQUESTED)

    (line,) = client_of(mei).get(URL).json()["results"]

    assert line["invitee"] == "—"
    assert str(friend.pk) not in str(line)


def test_everybody_sees_their_own(drain: Drain) -> None:
    mei = register("mei@example.com")
    friend = register("tom@example.org", mei)

    assert client_of(friend).get(URL).json()["results"] == []
    assert APIClient().get(URL).status_code == 401


def test_pages_cost_the_same_and_join() -> None:
    mei = make_person()
    people = make_people(25)
    for person in people:
        refer(person, mei)
    client = client_of(mei)

    costs = []
    for size in (2, 20):
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(f"{URL}?page_size={size}").json()
        costs.append(len(captured))
    rest = client.get(answer["next"]).json()

    assert costs[0] == costs[1]
    assert (len(answer["results"]), len(rest["results"]), rest["next"]) == (20, 5, None)
    assert client.get(f"{URL}?cursor=forged").status_code == 400


def test_the_wallet_shows_them(drain: Drain) -> None:
    RewardRule.objects.create(version=1, points=1250)
    mei = register("mei@example.com")
    before = wallet_of(mei)
    register("tom@example.org", mei)
    drain()

    after = wallet_of(mei)

    assert "Nobody so far" in before
    assert "t•••@e•••.org" in after
    assert "tom@" not in after
    assert "Granted" in after


def test_the_wallet_shows_the_latest_few() -> None:
    mei = make_person()
    for person in make_people(12):
        refer(person, mei)
    client = Client()
    client.force_login(mei)

    assert client.get("/wallet/").content.decode().count("s•••@e•••.com") == 10
