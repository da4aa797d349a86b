"""The system checks name a wrong setting before it does harm."""

import sqlite3

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from project import checks


def found() -> set[str | None]:
    """Return the ids of what Usher's own checks of the whole find."""
    return {message.id for message in run_checks() if (message.id or "").startswith("usher.")}


@pytest.mark.django_db  # from Django 6.1 on all checks include the database's
def test_the_settings_of_a_first_start_are_fine() -> None:
    assert found() == set()


def test_atomic_requests_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)

    assert [message.id for message in checks.check_atomic_requests(None)] == ["usher.E001"]


@pytest.mark.parametrize("name", checks.CHOICES)
def test_a_mistyped_value_is_an_error_that_names_the_choices(settings: Settings, name: str) -> None:
    setattr(settings, name, "mistyped")

    (message,) = checks.check_choices(None)

    assert message.id == "usher.E002"
    assert name in message.msg
    assert all(value in (message.hint or "") for value in checks.CHOICES[name])


@pytest.mark.parametrize(
    ("production", "url", "expected"),
    [
        (False, "http://127.0.0.1:8000", set()),
        (True, "https://usher.example", set()),
        (True, "http://usher.example", {"usher.E003"}),
        (True, "", {"usher.E003"}),
    ],
)
def test_public_links_are_https_in_production(
    settings: Settings, production: bool, url: str, expected: set[str]
) -> None:
    settings.PRODUCTION, settings.PUBLIC_URL = production, url

    assert {message.id for message in checks.check_public_url(None)} == expected


@pytest.mark.parametrize(
    ("production", "uses_sqlite", "version", "expected"),
    [
        (True, True, (3, 51, 2), {"usher.W001"}),
        (True, True, (3, 51, 3), set()),
        (True, False, (3, 40, 1), set()),
        (False, True, (3, 40, 1), set()),
    ],
)
def test_an_old_sqlite_is_a_warning_in_production(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    production: bool,
    uses_sqlite: bool,
    version: tuple[int, int, int],
    expected: set[str],
) -> None:
    settings.PRODUCTION, settings.USES_SQLITE = production, uses_sqlite
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)

    assert {message.id for message in checks.check_sqlite(None)} == expected
