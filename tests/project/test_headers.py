"""What browsers are told about pages: what may load, run, connect, frame."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from project.headers import POLICIES, policy_of

pytestmark = pytest.mark.django_db


def policy(answer: Any) -> dict[str, str]:
    """Return the policy that came with an answer, by directive."""
    parts = (part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
    return dict(parts)


def test_pages_load_and_run_what_is_served_here_and_nothing_written_into_them(
    client: Client,
) -> None:
    told = policy(client.get("/"))

    assert told["default-src"] == told["script-src"] == told["style-src"] == "'self'"
    assert told["connect-src"] == told["form-action"] == "'self'"
    assert told["object-src"] == told["base-uri"] == told["frame-ancestors"] == "'none'"


@pytest.mark.parametrize(
    ("path", "styles"), [("/admin/", "'self'"), ("/api/docs/", "'self' 'unsafe-inline'")]
)
def test_the_documentation_may_set_styles_and_nothing_runs_other_scripts(
    client: Client, path: str, styles: str
) -> None:
    client.force_login(get_user_model().objects.create_superuser("staff@example.com", "x"))

    told = policy(client.get(path))

    assert told["script-src"] == "'self'"
    assert told["style-src"] == styles
    assert told["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("path", ["/api/v1/me/", "/api/schema/", "/api/v1/nowhere/"])
def test_data_loads_and_runs_nothing(client: Client, path: str) -> None:
    assert policy(client.get(path))["default-src"] == "'none'"


def test_no_policy_lets_scripts_in_that_are_written_into_a_page() -> None:
    for _, each in POLICIES:
        allowed = " ".join(each.get("script-src", each["default-src"]))
        assert "unsafe" not in allowed
        assert "*" not in allowed


@pytest.mark.parametrize("path", ["/nowhere/", "/static/nothing.css", "/livez", "/favicon.ico"])
def test_whatever_is_answered_has_a_policy(client: Client, path: str) -> None:
    answer = client.get(path)

    assert policy(answer)["script-src"] == "'self'"
    assert "camera=()" in answer["Permissions-Policy"]


@pytest.mark.parametrize("path", ["/", "/administration/", "/apiary/"])
def test_an_address_that_only_begins_alike_is_a_page(path: str) -> None:
    assert policy_of(path) == policy_of("/")
