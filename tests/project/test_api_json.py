"""JSON that two programs could read differently is refused, each kind with a code of its own."""

import json
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.project.failing_urls")]

URL = "/api/v1/nested/"
LIMIT = 64 * 1024

REFUSED = [
    (b"{", "malformed_json"),
    (b"", None),  # an empty body is an empty object
    (b" ", "malformed_json"),
    (b"{'lines': []}", "malformed_json"),
    (b'{"lines": [],}', "malformed_json"),
    (b'{"lines": []} x', "malformed_json"),
    (b'{"lines": "\x01"}', "malformed_json"),
    (b'{"lines": NaN}', "malformed_json"),
    (b'{"lines": -Infinity}', "malformed_json"),
    (b'\xef\xbb\xbf{"lines": []}', "malformed_json"),
    (b'{"lines": 1e999}', "number_out_of_range"),
    (b'{"lines": -1E400}', "number_out_of_range"),
    (b'{"lines": ' + b"9" * 5000 + b"}", "number_out_of_range"),
    (b'{"lines": [], "lines": []}', "duplicate_name"),
    (b'{"lines": [{"amount": 1, "amount": 2}]}', "duplicate_name"),
    (b'{"lines": "\xff"}', "invalid_encoding"),
    ('{"lines": []}'.encode("utf-16"), "invalid_encoding"),
    (b"[" * 30_000, "too_deep"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too_deep"),
    (b'{"lines": "\\ud800"}', "lone_surrogate"),
    (b'{"\\udfff": 1}', "lone_surrogate"),
    (b"[]", "not_an_object"),
    (b"null", "not_an_object"),
    (b'"lines"', "not_an_object"),
    (b"1", "not_an_object"),
]


def send(client: Any, body: bytes | str, content_type: str = "application/json") -> Any:
    """Send a body as it is."""
    return client.generic("POST", URL, body, content_type=content_type)


@pytest.mark.parametrize(("body", "code"), REFUSED)
def test_refused_documents(api_client: APIClient, body: bytes, code: str | None) -> None:
    answer = send(api_client, body)

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code or (code is None and answer.json()["errors"])


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'application/json; charset="UTF-8"',
        "APPLICATION/JSON",
    ],
)
def test_accepted_types(api_client: APIClient, content_type: str) -> None:
    body = json.dumps({"lines": [{"amount": 1}]})

    answer = send(api_client, body, content_type)

    assert (answer.status_code, answer.json()) == (200, {"lines": [{"amount": 1}]})


def test_pairs_of_surrogates_are_characters(api_client: APIClient) -> None:
    body = b'{"lines": [{"amount": 1}], "other": "\\ud83c\\udf9f"}'

    answer = send(api_client, body)

    assert answer.status_code == 200


@pytest.mark.parametrize("charset", ["utf-16", "gbk", "latin-1", "nonsense"])
def test_other_charsets(api_client: APIClient, charset: str) -> None:
    content_type = f"application/json; charset={charset}"

    answer = send(api_client, b'{"lines": []}', content_type)

    assert answer.status_code in {400, 415}
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (3_000_000, 413)])
def test_the_largest_body(api_client: APIClient, size: int, status: int) -> None:
    body = b'{"lines": [{"amount": 1}]' + b" " * size
    body = body[: size - 1] + b"}"

    answer = send(api_client, body)

    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "body_too_large"


@pytest.mark.urls("project.urls")
def test_a_format_in_the_address_changes_nothing(client: Client) -> None:
    asked = client.get("/api/v1/me/?format=xml")

    assert asked.status_code == 401
    assert asked["Content-Type"] == "application/problem+json"
