"""Whatever is sent to sign up: a sentence that helps, nothing stored, never a 500."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from tests.accounts.conftest import PASSWORD, stored

pytestmark = pytest.mark.django_db

PAGE = "/accounts/signup/"
API = "/api/v1/registrations/"
TOKENS = "/api/v1/tokens/"
FORM = "application/x-www-form-urlencoded"

# field, what is typed, the code of the error
BAD_TEXT = [
    ("email", "", "blank"),
    ("email", "   ", "blank"),
    ("email", "mei", "invalid"),
    ("email", "mei@", "invalid"),
    ("email", "mei@example", "invalid"),
    ("email", "mei\u202e@example.com", "invalid"),
    ("email", "mei@example.com\r\nBcc: all@example.com", "invalid"),
    ("email", "a" * 243 + "@example.com", "max_length"),
    ("email", "a" * 20_000 + "@example.com", "max_length"),
    ("email", "mei\x00@example.com", None),
    ("email", "mei\ufffd@example.com", "invalid_characters"),
    ("password", "", "blank"),
    ("password", "short", "password_too_short"),
    ("password", "password1", "password_too_common"),
    ("password", "12345678901", None),
    ("password", "mei@example", "password_too_similar"),
    ("password", "p" * 129, "password_too_long"),
    ("password", "p" * 50_000, "password_too_long"),
    ("password", "with a \x00 inside", None),
    ("password", "with a \ufffd inside", "invalid_characters"),
    ("referral_code", "with a \x00 inside", None),
]
SURROGATES = [("email", "mei\ud800@example.com"), ("password", "a long \udfff one")]
NOT_TEXT = [1, 1.5, True, None, [], ["mei@example.com"], {}, {"a": 1}]


@pytest.fixture(autouse=True)
def nothing_is_stored(client: Client, db: None) -> Iterator[None]:
    """Check after each test that it left nothing behind."""
    yield
    assert not any(stored().values())
    assert "_auth_user_id" not in client.session


def send_page(client: Client, **given: str) -> Any:
    """Send the form as a browser would."""
    typed = {"email": "mei@example.com", "password": PASSWORD} | given
    typed["password1"] = typed.pop("password")
    return client.post(PAGE, typed)


def send_api(client: APIClient, body: object, url: str = API) -> Any:
    """Send a JSON document; lone surrogates are escaped, as JSON allows."""
    return client.post(url, json.dumps(body), content_type="application/json")


def assert_problem(answer: HttpResponse, pointer: str | None = None) -> dict[str, str]:
    """Check the form of an error answer; return the error at `pointer`."""
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.content)
    assert problem["status"] == 400
    assert problem["detail"]
    if pointer is None:
        return {}
    errors = {error["pointer"]: error for error in problem["errors"]}
    assert set(errors) == {pointer}
    assert errors[pointer]["detail"]
    return dict(errors[pointer])


@pytest.mark.parametrize(("field", "text", "code"), BAD_TEXT)
def test_bad_text_on_the_page(client: Client, field: str, text: str, code: str | None) -> None:
    answer = send_page(client, **{field: text})

    name = {"password": "password1"}.get(field, field)
    form = answer.context["form"]
    assert answer.status_code == 200
    assert set(form.errors) == {name}
    assert all(len(sentence) > 10 for sentence in form.errors[name])
    assert f'id="id_{name}_error"' in answer.content.decode()


@pytest.mark.parametrize(("field", "text", "code"), BAD_TEXT)
def test_bad_text_by_the_api(
    api_client: APIClient, field: str, text: str, code: str | None
) -> None:
    body = {"email": "mei@example.com", "password": PASSWORD} | {field: text}

    error = assert_problem(send_api(api_client, body), f"/{field}")

    assert code is None or error["code"] == code


@pytest.mark.parametrize(("field", "text"), SURROGATES)
def test_lone_surrogates_by_the_api(api_client: APIClient, field: str, text: str) -> None:
    body = {"email": "mei@example.com", "password": PASSWORD} | {field: text}

    assert_problem(send_api(api_client, body))


def test_lone_surrogates_in_a_code_by_the_api(api_client: APIClient) -> None:
    body = {"email": "mei@example.com", "password": PASSWORD, "referral_code": "\ud800"}

    assert_problem(send_api(api_client, body))


@pytest.mark.parametrize(("field", "text"), SURROGATES)
def test_lone_surrogates_on_the_page(client: Client, field: str, text: str) -> None:
    typed = {"email": "mei@example.com", "password": PASSWORD} | {field: text}
    body = "&".join(
        f"{ {'password': 'password1'}.get(name, name) }="
        + quote_from_bytes(value.encode("utf-8", "surrogatepass"))
        for name, value in typed.items()
    )

    answer = client.post(PAGE, body, content_type=FORM)

    assert answer.status_code == 200
    assert answer.context["form"].errors


@pytest.mark.parametrize("field", ["email", "password"])
def test_a_missing_field(client: Client, api_client: APIClient, field: str) -> None:
    body = {"email": "mei@example.com", "password": PASSWORD}
    del body[field]

    page = client.post(PAGE, {"password1" if k == "password" else k: v for k, v in body.items()})

    assert page.status_code == 200
    assert len(page.context["form"].errors) == 1
    assert assert_problem(send_api(api_client, body), f"/{field}")["code"] == "required"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field in ("email", "password", "referral_code")
        for value in NOT_TEXT
        if (field, value) != ("referral_code", None)  # null says that no code was given
    ],
)
def test_other_types_are_not_turned_into_text(
    api_client: APIClient, field: str, value: object
) -> None:
    body = {"email": "mei@example.com", "password": PASSWORD} | {field: value}

    error = assert_problem(send_api(api_client, body), f"/{field}")

    assert error["code"] == ("null" if value is None else "invalid")


@pytest.mark.parametrize("url", [API, TOKENS])
@pytest.mark.parametrize("body", [None, [], ["mei@example.com"], "mei", 1, True, {}])
def test_documents_that_are_no_request(api_client: APIClient, url: str, body: object) -> None:
    assert_problem(send_api(api_client, body, url))


@pytest.mark.parametrize("url", [API, TOKENS])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'email': 'mei@example.com'}",
        b"\xff\xfe\x00",
        b'{"email": "\xed\xa0\x80"}',
        b'{"email": NaN}',
        b'{"email": 1e999}',
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b'{"email": "a@example.com", "email": "b@example.com", "password": "x"}',
        b"email=mei@example.com",
    ],
)
def test_malformed_json(api_client: APIClient, url: str, body: bytes) -> None:
    assert_problem(api_client.post(url, body, content_type="application/json"))


@pytest.mark.parametrize("url", [API, TOKENS])
@pytest.mark.parametrize(
    "content_type", [FORM, "multipart/form-data; boundary=x", "text/plain", "application/xml"]
)
def test_other_kinds_of_documents_are_refused(
    api_client: APIClient, url: str, content_type: str
) -> None:
    body = json.dumps({"email": "mei@example.com", "password": PASSWORD})

    answer = api_client.post(url, body.encode(), content_type=content_type)

    assert answer.status_code == 415
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("url", [API, TOKENS])
def test_a_document_over_64_kib_is_refused(api_client: APIClient, url: str) -> None:
    body = {"email": "mei@example.com", "password": PASSWORD, "ignored": "x" * 65 * 1024}

    answer = send_api(api_client, body, url)

    assert answer.status_code == 413
    assert answer["Content-Type"] == "application/problem+json"


def test_an_oversized_form_is_refused(client: Client) -> None:
    answer = send_page(client, password="p" * 3 * 1024 * 1024)

    assert answer.status_code in {400, 413}


def test_too_many_fields_are_refused(client: Client) -> None:
    body = urlencode([(f"field{number}", "") for number in range(2000)])

    assert client.post(PAGE, body, content_type=FORM).status_code == 400


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (b"%", FORM),
        (b"email=%ff%fe&password1=%c3%28%c3%28%c3%28%c3%28", FORM),
        (b"email=a&email=b&password1[]=x", FORM),
        (b"\xff\xfe", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"x", "multipart/form-data"),
        (b'{"email": "mei@example.com"}', "application/json"),
        (b"email=mei@example.com", "application/x-www-form-urlencoded; charset=utf-16"),
        (b"email=mei@example.com", "application/x-www-form-urlencoded; charset=nonsense"),
    ],
)
def test_malformed_forms(client: Client, body: bytes, content_type: str) -> None:
    answer = client.generic("POST", PAGE, body, content_type=content_type)

    assert answer.status_code in {200, 400}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.fixed_dictionaries({"email": JSON_VALUES, "password": JSON_VALUES}))
def test_no_document_makes_the_server_fail(api_client: APIClient, body: object) -> None:
    assert send_api(api_client, body).status_code == 400
    assert send_api(api_client, body, TOKENS).status_code in {400, 401}
