"""Calls on what belongs to others, and calls with what nobody asked for.

The calls are read from the addresses: a new one fails here until it is in the tables.
"""

import re
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from accounts.models import User
from coupons.models import CODE_LENGTH, Coupon, Redemption
from events.models import Delivery, Event, ReceiverState
from points.models import Entry, PointsAccount
from project.models import Checkout
from relay.endpoints import Endpoint
from tests.api_calls import Call, api_calls
from tests.api_world import SECRET, World, everything, make_call, make_world
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

CALLS = api_calls()
SHOP_ALONE = 403  # to people: said before anything is looked for, so it tells of no row
STAFF_ALONE = 403
# What somebody without permissions is answered about a thing of another one.
TO_OTHERS = {
    "get api-user": 404,
    "post api-coupon-validate": 404,
    "post api-coupon-redeem": 404,
    "post api-redemption-rollback": 404,
    "post api-points-rollback": SHOP_ALONE,
    "get api-checkout": SHOP_ALONE,
    "get api-endpoint": STAFF_ALONE,
    "patch api-endpoint": STAFF_ALONE,
    "delete api-endpoint": STAFF_ALONE,
    "post api-endpoint-secret": STAFF_ALONE,
    "post api-endpoint-test": STAFF_ALONE,
    "post api-endpoint-replay": STAFF_ALONE,
    "get api-endpoint-attempts": STAFF_ALONE,
    "get api-event": STAFF_ALONE,
    "get api-delivery": STAFF_ALONE,
    "post api-delivery-replay": STAFF_ALONE,
    "post api-delivery-skip": STAFF_ALONE,
    "post api-receiver-pause": STAFF_ALONE,
    "post api-receiver-resume": STAFF_ALONE,
}
FOR_EVERYONE = {"get api-terms", "post api-registrations", "post api-tokens"}
UNSIGNED = {"webhook-signature": ""}  # of risk decisions: their only credential
TAKES_NO_BODY = {
    "post api-redemption-rollback",
    "post api-points-rollback",
    "post api-endpoint-secret",
    "post api-endpoint-test",
}
OPTIONAL = {
    "post api-registrations": {"referral_code", "terms_version"},
    "post api-tokens": {"code"},
    "post api-endpoints": {"max_attempts", "schedule_s"},
    "patch api-endpoint": {"url", "event_types", "owner_email", "max_attempts", "schedule_s"}
    | {"state"},
    "post api-endpoint-replay": {"until"},
    "post api-delivery-replay": {"reason"},
    "post api-receiver-resume": {"reason"},
}
OPERATORS = (
    "?user__password__startswith=a&user__is_staff=true&state__in=x&pk=1&id__lt=0&user=x"
    "&ordering=user__password&fields=password&_connector=OR"
)
HEADERS = ("X-Request-ID", "Idempotency-Key", "Accept-Language", "X-Forwarded-For", "Referer")
BODIES = [
    (b'{"a": 1, "a": 1}', 400, "duplicate_name"),
    (b'{"a": NaN}', 400, "malformed_json"),
    (b'{"a": 1e999}', 400, "number_out_of_range"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "too_deep"),
    (b"[]", 400, "not_an_object"),
    (b'{"a": "' + b"x" * 70_000 + b'"}', 413, "body_too_large"),
]
OTHER_TYPES = ("application/json; charset=utf-16", "application/x-www-form-urlencoded")
WITH_PLACE = [call for call in CALLS if call.has_place]
TAKES_BODY = [
    call
    for call in CALLS
    if call.method in {"post", "put", "patch"} and str(call) not in TAKES_NO_BODY
]
GETS = [call for call in CALLS if call.method == "get"]


@pytest.fixture(autouse=True)
def _settings(settings: Settings) -> None:
    settings.RATE_LIMITS = "off"
    settings.RISK_DECISION_SECRETS = [SECRET]


@pytest.fixture
def world() -> World:
    """Return one of everything."""
    return make_world()


# --- What belongs to others ---------------------------------------------------------------------


def test_every_address_with_an_id_or_a_code_is_in_the_table() -> None:
    assert {str(call) for call in WITH_PLACE} == set(TO_OTHERS)


@pytest.mark.parametrize("call", WITH_PLACE, ids=str)
def test_a_thing_of_another_one_is_answered_like_one_that_is_not_there(
    call: Call, world: World
) -> None:
    stranger, before = make_person(), everything()
    nowhere = "0" * CODE_LENGTH if call.name.startswith("api-coupon") else uuid4()

    theirs = make_call(call, world.place(call), world.body(call), by=stranger)
    nothing = make_call(call, nowhere, world.body(call), by=stranger)

    assert (theirs.status_code, without_id(theirs)) == (TO_OTHERS[str(call)], without_id(nothing))
    assert everything() == before


def test_without_credentials_nothing_is_answered(world: World) -> None:
    calls, before = [call for call in CALLS if str(call) not in FOR_EVERYONE], everything()

    answers = {
        str(call): make_call(
            call, world.place(call), world.body(call), headers=UNSIGNED
        ).status_code
        for call in calls
    }

    assert answers == dict.fromkeys(map(str, calls), 401)
    assert everything() == before


@pytest.mark.parametrize("place", ["0", "%00", "' OR 1=1 --"])
def test_an_address_with_anything_in_it_finds_nothing(place: str, world: World) -> None:
    caller = world.root()

    for call in WITH_PLACE:
        answer = make_call(call, place, world.body(call), by=caller)

        assert answer.status_code in {400, 404}, call
        assert answer["Content-Type"] == "application/problem+json", call


def without_id(answer: Any) -> dict[str, Any]:
    """Return a problem without what is different in every answer."""
    assert answer["Content-Type"] == "application/problem+json"
    return {name: value for name, value in answer.json().items() if name != "request_id"}


# --- Names nobody asked for ---------------------------------------------------------------------


@pytest.mark.parametrize("call", TAKES_BODY, ids=str)
def test_columns_cannot_be_set_by_their_names(call: Call, world: World) -> None:
    body = world.body(call)
    names = columns() - set(body) - OPTIONAL.get(str(call), set())
    caller, before = world.root(), everything()

    answer = make_call(call, world.place(call), dict.fromkeys(names, "1") | body, by=caller)

    assert answer.status_code == 400, answer.content
    errors = {error["pointer"]: error["code"] for error in answer.json()["errors"]}
    assert errors == {f"/{name}": "unknown_field" for name in names}
    assert everything() == before


@pytest.mark.parametrize("call", TAKES_BODY, ids=str)
def test_the_body_alone_would_have_been_taken(call: Call, world: World) -> None:
    answer = make_call(call, world.place(call), world.body(call), by=world.root())

    assert answer.status_code < 300, answer.content


def columns() -> set[str]:
    """Return the names of all columns and relations of what the API tells of."""
    domain = (User, Coupon, Redemption, Entry, PointsAccount, Checkout)
    models = (*domain, Endpoint, Event, Delivery, ReceiverState)
    fields = [field for model in models for field in model._meta.get_fields()]
    names = {field.name for field in fields}
    return names | {getattr(field, "attname", field.name) for field in fields}


# --- Filters that are none ----------------------------------------------------------------------


def test_operators_in_the_query_filter_nothing(world: World) -> None:
    caller = world.root()

    for call in GETS:
        plain = make_call(call, world.place(call), by=caller)
        asked = make_call(call, world.place(call), by=caller, query=OPERATORS)

        assert (asked.status_code, told(asked)) == (200, told(plain)), call


def told(answer: Any) -> Any:
    """Return what is told, but for the age of something that goes on ageing."""
    return re.sub(r'"oldest_due_age_s":[\d.]+', "", answer.content.decode())


# --- Headers and bodies ------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADERS)
def test_a_line_in_a_header_makes_no_header_of_the_answer(name: str, world: World) -> None:
    [call] = [call for call in CALLS if str(call) == "post api-coupon-validate"]

    answer = make_call(
        call, world.place(call), world.body(call), by=world.owner, headers={name: "a\r\nX-Evil: 1"}
    )

    assert answer.status_code in {200, 400, 404}
    lines = [f"{header}: {value}" for header, value in answer.headers.items()]
    assert not [line for line in lines if "\r" in line or "\n" in line]
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize(("body", "status", "code"), BODIES)
def test_a_body_that_is_none_is_refused_by_every_call(
    body: bytes, status: int, code: str, world: World
) -> None:
    caller, before = world.root(), everything()

    for call in TAKES_BODY:
        answer = make_call(call, world.place(call), body, by=caller)

        assert (answer.status_code, answer.json()["code"]) == (status, code), call
        assert answer["Content-Type"] == "application/problem+json"
    assert everything() == before


@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_a_body_of_another_type_is_refused_by_every_call(content_type: str, world: World) -> None:
    caller, before = world.root(), everything()

    answers = {
        str(call): make_call(
            call, world.place(call), world.body(call), by=caller, content_type=content_type
        ).status_code
        for call in TAKES_BODY
    }

    assert answers == dict.fromkeys(map(str, TAKES_BODY), 415)
    assert everything() == before
