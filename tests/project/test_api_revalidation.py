"""Who asks again is told that nothing has changed, in a line; what is secret nobody keeps."""

import json
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from project.models import Checkout
from tests.api_calls import Call, api_calls
from tests.api_world import World, make_call, make_world
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

GETS = [call for call in api_calls() if call.method == "get"]
# A person's account is on screen once, and then it is nobody's: shared computers keep no copy.
# What is measured at this moment is another the next time.
NEVER_KEPT = {"api-me", "api-name", "api-my-terms", "api-export", "api-user", "api-receivers"}
REVALIDATED = [call for call in GETS if call.name not in NEVER_KEPT]
COUPONS = "/api/v1/me/coupons/"


@pytest.fixture
def world() -> World:
    """Return one of everything."""
    return make_world()


@pytest.fixture
def owner(world: World, api_client: APIClient) -> User:
    """Return somebody with coupons whose client is logged in."""
    api_client.force_authenticate(world.owner)
    return world.owner


def test_what_has_not_changed_is_not_sent_again(world: World) -> None:
    caller = world.root()

    for call in REVALIDATED:
        first = make_call(call, world.place(call), by=caller)
        again = ask_again(call, world.place(call), caller, first["ETag"])

        assert (first.status_code, again.status_code) == (200, 304), call
        assert first.content
        assert not again.content
        assert directives(first) == directives(again) == {"private", "no-cache"}, call
        assert again["ETag"] == first["ETag"]


def test_a_person_or_a_secret_is_never_kept(world: World) -> None:
    caller = world.root()

    for call in GETS:
        if call.name in NEVER_KEPT:
            answer = make_call(call, world.place(call), by=caller)

            assert (answer.status_code, directives(answer)) == (200, {"no-store"}), call
            assert "ETag" not in answer.headers


def test_the_secret_of_a_new_endpoint_is_not_kept(world: World) -> None:
    [create] = [call for call in api_calls() if str(call) == "post api-endpoints"]

    answer = make_call(create, "", world.body(create), by=world.root())

    assert answer.json()["secret"]
    assert "no-store" in directives(answer)
    assert "ETag" not in answer.headers


def test_a_change_is_sent(api_client: APIClient, owner: User) -> None:
    before = api_client.get(COUPONS)
    make_coupon(make_campaign(), owner)

    after = api_client.get(COUPONS, headers={"if-none-match": before["ETag"]})

    assert after.status_code == 200
    assert after["ETag"] != before["ETag"]


@pytest.mark.parametrize("form", ["W/{}", '"other", {}', "*"])
def test_an_etag_that_a_proxy_weakened_by_compressing_still_counts(
    api_client: APIClient, owner: User, form: str
) -> None:
    etag = api_client.get(COUPONS)["ETag"]

    answer = api_client.get(COUPONS, headers={"if-none-match": form.format(etag)})

    assert answer.status_code == 304


@pytest.mark.parametrize("form", ["", '"other"', "nonsense", '"\r\n', "W/", ","])
def test_an_etag_that_is_none_of_ours_gets_the_answer(
    api_client: APIClient, owner: User, form: str
) -> None:
    answer = api_client.get(COUPONS, headers={"if-none-match": form})

    assert answer.status_code == 200


def test_nobody_learns_by_an_etag_what_another_one_is_shown(
    api_client: APIClient, owner: User
) -> None:
    etag = api_client.get(COUPONS)["ETag"]

    nobody = APIClient().get(COUPONS, headers={"if-none-match": etag})
    api_client.force_authenticate(make_person())
    other = api_client.get(COUPONS, headers={"if-none-match": etag})

    assert (nobody.status_code, other.status_code) == (401, 200)
    assert "ETag" not in nobody.headers
    assert other.json()["results"] == []


def test_each_language_has_an_etag_of_its_own(world: World) -> None:
    Checkout.objects.update(state="refused", reason="insufficient_points")
    [call] = [call for call in GETS if call.name == "api-checkout"]
    caller = world.root()

    english, chinese = (
        make_call(call, world.place(call), by=caller, headers={"accept-language": language})
        for language in ("en", "zh-hans")
    )

    assert english.json()["detail"] != chinese.json()["detail"]
    assert english["ETag"] != chinese["ETag"]
    assert {"Accept-Language", "Authorization"} <= set(english["Vary"].split(", "))


def test_the_schema_says_so(client: Client) -> None:
    paths = json.loads(client.get("/api/schema/").content)["paths"]
    described = {
        path for path, item in paths.items() if "304" in item.get("get", {}).get("responses", {})
    }

    assert len(described) == len(REVALIDATED)
    for path in described:
        get = paths[path]["get"]
        assert "If-None-Match" in {each["name"] for each in get["parameters"]}
        assert {"ETag", "Cache-Control"} == get["responses"]["200"]["headers"].keys()
        assert "x-revalidated" not in get


def ask_again(call: Call, place: object, by: User, etag: str) -> Any:
    """Ask whether an answer still holds."""
    return make_call(call, place, by=by, headers={"if-none-match": etag})


def directives(answer: Any) -> set[str]:
    """Return what Cache-Control says."""
    return set(answer["Cache-Control"].split(", "))
