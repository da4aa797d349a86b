"""Every error under /api/ is a problem document (RFC 9457), and tells nobody's secrets."""

import json
import logging
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from tests.project.failing_urls import SECRET
from tests.registrations import make_person

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.project.failing_urls")]

REQUEST_ID = "7b0c-of-the-caller"


@pytest.fixture
def api() -> APIClient:
    """Return a client that shows what a failing view answers, and names its requests."""
    client = APIClient(raise_request_exception=False, enforce_csrf_checks=True)
    client.defaults["HTTP_X_REQUEST_ID"] = REQUEST_ID
    return client


def problem_of(answer: Any, status: int) -> dict[str, Any]:
    """Check what all problems have in common; return this one."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["X-Request-ID"] == REQUEST_ID
    problem: dict[str, Any] = json.loads(answer.content)
    assert {"type", "title", "status", "detail", "code", "request_id"} <= problem.keys()
    assert problem["status"] == status
    assert problem["request_id"] == REQUEST_ID
    assert problem["detail"]
    assert SECRET not in answer.content.decode()
    return problem


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ("conflict", 409, "out_of_seats"),
        ("throttled", 429, "throttled"),
        ("missing", 404, "not_found"),
        ("forbidden", 403, "permission_denied"),
        ("suspicious", 400, "bad_request"),
        ("bad-request", 400, "bad_request"),
        ("locked", 503, "unavailable"),
        ("no-table", 500, "internal_error"),
        ("bug", 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_a_failing_view(
    api: APIClient, settings: Settings, debug: bool, failure: str, status: int, code: str
) -> None:
    settings.DEBUG = debug

    problem = problem_of(api.get(f"/api/v1/failing/{failure}/"), status)

    assert problem["code"] == code


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        ("missing", 404),
        ("forbidden", 403),
        ("suspicious", 400),
        ("locked", 503),
        ("no-table", 500),
        ("bug", 500),
    ],
)
def test_a_failing_view_outside_rest_framework(api: APIClient, failure: str, status: int) -> None:
    problem_of(api.get(f"/api/v1/no-rest-framework/{failure}/"), status)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/api/v1/nowhere/", 404, "not_found"),
        ("get", "/api/", 404, "not_found"),
        ("post", "/api/v1/nowhere/", 404, "not_found"),
        ("delete", "/api/v1/me/", 401, "not_authenticated"),
        ("put", "/api/v1/tokens/", 405, "method_not_allowed"),
        ("get", "/api/v1/form/", 405, "method_not_allowed"),
        ("post", "/api/v1/form/", 403, "permission_denied"),
        ("post", "/api/docs/", 405, "method_not_allowed"),
        ("post", "/api/schema/", 405, "method_not_allowed"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_address_that_is_not_meant_so(
    api: APIClient,
    settings: Settings,
    debug: bool,
    method: str,
    path: str,
    status: int,
    code: str,
) -> None:
    settings.DEBUG = debug

    problem = problem_of(getattr(api, method)(path, HTTP_ACCEPT="text/html,*/*"), status)

    assert problem["code"] == code


def test_a_host_that_is_not_ours(api: APIClient) -> None:
    problem_of(api.get("/api/v1/me/", HTTP_HOST="elsewhere.example"), 400)


def test_an_error_keeps_the_methods_that_are_allowed(api: APIClient) -> None:
    assert "POST" in api.get("/api/v1/form/")["Allow"]
    assert "POST" in api.get("/api/v1/registrations/")["Allow"]


def test_who_is_not_logged_in_is_told_how(api: APIClient) -> None:
    answer = api.get("/api/v1/guarded/")

    assert problem_of(answer, 401)["code"] == "not_authenticated"
    assert answer["WWW-Authenticate"].startswith("Token")


def test_an_outage_and_a_limit_say_when_to_come_back(api: APIClient) -> None:
    assert int(api.get("/api/v1/failing/locked/")["Retry-After"]) > 0
    assert int(api.get("/api/v1/no-rest-framework/locked/")["Retry-After"]) > 0
    assert api.get("/api/v1/failing/throttled/")["Retry-After"] == "17"


def test_a_failure_is_logged_with_its_traceback(
    api: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="django.request"):
        api.get("/api/v1/failing/bug/")

    [record] = caplog.records
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


def test_a_business_rule_of_django_becomes_field_errors(api: APIClient) -> None:
    problem = problem_of(api.get("/api/v1/failing/invalid/"), 400)

    assert problem["code"] == "invalid"
    assert problem["errors"] == [
        {"pointer": "/email", "code": "bad_address", "detail": "Not an address."}
    ]


def test_a_rule_about_the_whole_document_points_at_the_whole(api: APIClient) -> None:
    problem = problem_of(api.get("/api/v1/failing/invalid-whole/"), 400)

    [error] = problem["errors"]
    assert (error["pointer"], error["code"]) == ("", "contradiction")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/lines": "required"}),
        ({"lines": []}, {"": "empty"}),
        (
            {"lines": [{"amount": 1}, {"amount": "x"}, {}]},
            {
                "/lines/1/amount": "invalid",
                "/lines/2/amount": "required",
            },
        ),
        ({"lines": {"amount": 1}}, {"/lines": "not_a_list"}),
        ({"lines": [{"amount": 1}], "note": "b"}, {"/note": "invalid_choice"}),
    ],
)
def test_pointers_reach_into_the_document(
    api: APIClient, body: dict[str, Any], pointers: dict[str, str]
) -> None:
    answer = api.post("/api/v1/nested/", body)

    errors = problem_of(answer, 400)["errors"]
    assert {error["pointer"]: error["code"] for error in errors} == pointers


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x--"),
        ("multipart/form-data", b"x"),
        ("application/x-www-form-urlencoded", b"lines=1"),
        ("text/plain", b"lines"),
        ("application/xml", b"<lines/>"),
        ("", b"{}"),
    ],
)
def test_other_media_types(api: Any, content_type: str, body: bytes) -> None:
    answer = api.generic("POST", "/api/v1/nested/", body, content_type=content_type)

    assert problem_of(answer, 415)["code"] == "unsupported_media_type"


def test_a_forgotten_slash_keeps_method_and_body(api: APIClient) -> None:
    answer = api.post("/api/v1/nested?a=b", {"lines": []})

    assert answer.status_code == 308
    assert answer["Location"] == "/api/v1/nested/?a=b"


def test_a_session_without_its_token_is_refused(api: APIClient) -> None:
    api.force_login(make_person())

    problem_of(api.post("/api/v1/nested/", {"lines": [{"amount": 1}]}), 403)
