"""Traces and error reports are off until asked for, and a wrong setting is named."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project import observing
from project.observing import checks, starting
from tests.processes import ROOT

LOADED = "import django; django.setup(); import sys; print(*[m for m in {} if m in sys.modules])"
PACKAGES = ("opentelemetry", "sentry_sdk")


def run(program: str, tmp_path: Path, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program in a process of its own, with an environment."""
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ours = {"USHER_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "project.settings"}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env={**inherited, **ours, **environment}, capture_output=True, check=True
    )


def loaded(tmp_path: Path, **environment: str) -> list[str]:
    """Return which of the optional packages a process has imported once Django is set up."""
    return run(LOADED.format(PACKAGES), tmp_path, **environment).stdout.decode().split()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, []),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
                "OTEL_SDK_DISABLED": "true",
                "SENTRY_DSN": "https://key@127.0.0.1:1/1",
            },
            ["sentry_sdk"],
        ),
    ],
)
def test_what_is_not_asked_for_is_not_imported(
    environment: dict[str, str], expected: list[str], tmp_path: Path
) -> None:
    assert loaded(tmp_path, **environment) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, []),
        ({"TRACES": True}, ["usher.E010", "usher.E010"]),
        ({"TRACES": True, "OTEL_TRACES_EXPORTER": "console"}, ["usher.E010"]),
        ({"SENTRY_DSN": "https://…"}, ["usher.E010"]),
    ],
)
def test_what_is_asked_for_and_not_installed_is_an_error(
    wanted: dict[str, Any], expected: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    for name, value in wanted.items():
        setattr(settings, name, value)

    assert [message.id for message in checks.check_installed(None)] == expected


def test_what_is_not_installed_keeps_nobody_from_starting(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SENTRY_DSN = "https://key@sentry.example/1"
    # Other tests of this process may have imported it: then the package has it, too.
    monkeypatch.delitem(sys.modules, "project.observing.errors", raising=False)
    monkeypatch.delattr(observing, "errors", raising=False)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)

    with caplog.at_level(logging.ERROR, logger="project"):
        starting.start()

    assert "requirements-observability.txt" in caplog.text


def test_the_api_of_opentelemetry_alone_is_not_enough(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_the_api(name: str) -> object:
        if name.startswith("opentelemetry.exporter."):
            raise ModuleNotFoundError(name)  # as for what is part of a package that is missing
        return None if name == "opentelemetry.sdk" else object()

    monkeypatch.setattr(checks, "find_spec", only_the_api)
    settings.TRACES = True

    told = [message.msg for message in checks.check_installed(None)]

    assert ["opentelemetry.sdk" in told[0], checks.OTLP in told[1], len(told)] == [True, True, 2]


PAGE = """
import sys
if {without_sdk}:
    sys.modules["opentelemetry.sdk"] = None
import django
django.setup()
from django.test import Client
print(*[Client().get("/livez").status_code for _ in range(2)])
"""


@pytest.mark.parametrize(
    ("without_sdk", "variables", "told"),
    [
        (True, {}, "requirements-observability.txt"),
        (False, {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        (False, {"OTEL_BSP_MAX_QUEUE_SIZE": "256"}, "max_queue_size"),
    ],
)
def test_pages_are_answered_where_traces_cannot_be_made(
    without_sdk: bool, variables: dict[str, str], told: str, tmp_path: Path
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **variables}

    found = run(PAGE.format(without_sdk=without_sdk), tmp_path, **environment)

    assert found.stdout.decode().split() == ["200", "200"]
    assert found.stderr.decode().count(told) == 1


@pytest.mark.parametrize(
    ("exporter", "protocol", "expected"),
    [
        ("otlp", "http/protobuf", []),
        ("console", "http/protobuf", []),
        ("zipkin", "http/protobuf", ["usher.E011"]),
        ("otlp", "grpc", ["usher.E012"]),
    ],
)
def test_traces_go_where_there_is_something(
    exporter: str,
    protocol: str,
    expected: list[str],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.TRACES, settings.OTEL_TRACES_EXPORTER = True, exporter
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)

    assert [message.id for message in checks.check_traces(None)] == expected


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("", []),
        ("https://key@sentry.example/1", []),
        ("sentry.example", ["usher.E013"]),
        ("https://sentry.example/1", ["usher.E013"]),
    ],
)
def test_a_mistyped_dsn_is_an_error(dsn: str, expected: list[str], settings: Any) -> None:
    settings.SENTRY_DSN = dsn

    assert [message.id for message in checks.check_sentry(None)] == expected
