"""The API describes itself, from this server alone."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

pytestmark = pytest.mark.django_db

METHODS = {"get", "post", "put", "patch", "delete"}


def document(client: Client) -> dict[str, Any]:
    """Return the OpenAPI document."""
    parsed: dict[str, Any] = json.loads(client.get("/api/schema/").content)
    return parsed


def test_the_document_is_openapi_3_1_in_json(client: Client) -> None:
    answer = client.get("/api/schema/")

    assert answer["Content-Type"].startswith("application/json")
    assert document(client)["openapi"].startswith("3.1")


def test_the_document_is_yaml_where_that_is_asked_for(client: Client) -> None:
    answer = client.get("/api/schema/", HTTP_ACCEPT="application/yaml")

    assert answer["Content-Type"].startswith("application/yaml")
    assert answer.content.startswith(b"openapi:")


@pytest.mark.parametrize("query", ["version=%0d%0aX:1", "version=%00", "lang=%00", "lang=%0d%0aX"])
@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/"])
def test_an_odd_query_changes_no_header(client: Client, path: str, query: str) -> None:
    answer = client.get(f"{path}?{query}")

    assert answer.status_code == 200
    assert answer.get("Content-Disposition") in {None, 'inline; filename="usher-api.json"'}


@pytest.mark.parametrize(
    "path",
    [
        "registrations/",
        "tokens/",
        "tokens/current/",
        "me/",
        "me/close/",
        "me/coupons/",
        "me/export/",
        "me/points/",
        "me/referrals/",
        "users/{user_id}/",
    ],
)
def test_the_document_has_the_calls_of_the_contract(client: Client, path: str) -> None:
    assert f"/api/v1/{path}" in document(client)["paths"]


def test_every_call_has_a_name_and_a_summary_of_its_own(client: Client) -> None:
    operations = [
        operation
        for path, item in document(client)["paths"].items()
        if path.startswith("/api/v1/")
        for method, operation in item.items()
        if method in METHODS
    ]

    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) > 5
    assert all(operation.get("summary") for operation in operations)


def test_every_call_says_what_an_error_looks_like(client: Client) -> None:
    spec = document(client)

    assert spec["components"]["schemas"]["Problem"]["required"]
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            if path.startswith("/api/v1/") and method in METHODS:
                assert operation["responses"]["default"]["content"].keys() == {
                    "application/problem+json"
                }, (method, path)


def test_generating_the_document_warns_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", "/dev/null")

    assert "Warning" not in capsys.readouterr().err


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(client: Client) -> None:
    html = client.get("/api/docs/").content.decode()

    addresses = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert addresses
    assert all(address.startswith("/") for address in addresses)
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert "<style" not in html
    assert "style=" not in html


def test_the_page_is_for_everyone_even_with_a_token_that_expired(client: Client) -> None:
    for path in ("/api/docs/", "/api/schema/"):
        assert client.get(path, HTTP_AUTHORIZATION="Token expired").status_code == 200


def test_the_script_of_the_page(client: Client) -> None:
    html = client.get("/api/docs/").content.decode()
    [address] = re.findall(r'src="(/api/docs/[^"]+)"', html)

    answer = client.get(address.replace("&amp;", "&"))

    assert answer["Content-Type"].startswith("application/javascript")
    assert b"/api/schema/" in answer.content


def test_every_post_but_the_one_for_tokens_can_be_repeated_under_a_key() -> None:
    patterns = list(_patterns(get_resolver()))
    views = {str(each.pattern): getattr(each.callback, "cls", None) for each in patterns}
    posts = {name: view for name, view in views.items() if hasattr(view, "post")}

    lacking = {
        name
        for name, view in posts.items()
        if not any(hasattr(member, "is_idempotent") for member in vars(view).values())
    }

    assert len(posts) > 5
    assert lacking == {"tokens/"}  # no token is kept


def _patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern)
        else:
            yield pattern
