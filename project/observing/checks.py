"""Checks of what traces and error reports need."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

EXPORTERS = ("otlp", "console", "none")
OTLP = "opentelemetry.exporter.otlp.proto.http"
PROTOCOL = "http/protobuf"
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
INSTALL = "`pip install --require-hashes -r requirements.txt -r requirements-observability.txt`"


@register
def check_installed(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E010: what is configured, but not installed, would be missed when it is needed."""
    needed = [
        ("Traces are", settings.TRACES, "opentelemetry.sdk"),
        ("Traces are", settings.TRACES and _exports_by_otlp(), OTLP),
        ("SENTRY_DSN is", settings.SENTRY_DSN, "sentry_sdk"),
    ]
    return [
        Error(
            f"{what} configured, but the package {package} is not installed.",
            hint=f"{INSTALL}, or take the variable out.",
            id="usher.E010",
        )
        for what, wanted, package in needed
        if wanted and not _is_installed(package)
    ]


def _exports_by_otlp() -> bool:
    return bool(settings.OTEL_TRACES_EXPORTER != "console")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # what it is part of
        return False


@register
def check_traces(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E011, E012: traces go to a place, in a way, that there is."""
    findings: list[CheckMessage] = []
    if settings.OTEL_TRACES_EXPORTER not in EXPORTERS:
        findings.append(
            Error(
                f"OTEL_TRACES_EXPORTER is {settings.OTEL_TRACES_EXPORTER!r}.",
                hint=f"Set it to {' or '.join(map(repr, EXPORTERS))}.",
                id="usher.E011",
            )
        )
    findings += [
        Error(
            f"{name} is {value!r}.",
            hint=f"Usher exports by {PROTOCOL}: take it out, and name the collector's HTTP port "
            "(4318, as a rule) in OTEL_EXPORTER_OTLP_ENDPOINT.",
            id="usher.E012",
        )
        for name in PROTOCOL_VARIABLES
        if settings.TRACES and (value := os.environ.get(name, PROTOCOL)) != PROTOCOL
    ]
    return findings


@register
def check_sentry(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E013: a mistyped DSN would keep the process from starting, or send nothing."""
    dsn = urlsplit(settings.SENTRY_DSN)
    if not settings.SENTRY_DSN or (dsn.scheme in {"http", "https"} and dsn.username and dsn.path):
        return []
    return [
        Error(
            "SENTRY_DSN is no DSN.",
            hint="Copy it whole from Sentry: https://KEY@HOST/PROJECT.",
            id="usher.E013",
        )
    ]
