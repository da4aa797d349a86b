"""Checks of the whole: settings that are wrong, or would break a promise."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.proxies import mistyped
from events.receivers import all_receivers
from project.alarms import thresholds

CHOICES = {
    "QUEUE_BROKER": ("orm", "redis"),
    "SIGNUP_EMAIL_VERIFICATION": ("optional", "mandatory"),
    "RATE_LIMITS": ("on", "off"),
    "STAFF_MFA": ("optional", "required"),
    "PASSWORD_HASHER": ("argon2", "cheap"),
    "LOG_FORMAT": ("console", "json"),
}
SHORTEST_TOKEN = 20  # characters
# The first without the "WAL-reset" bug, which can damage a file that several processes write.
SAFE_SQLITE = (3, 51, 3)


@register
def check_atomic_requests(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E001: a transaction around each request would hold locks while passwords are hashed."""
    return [
        Error(
            f"ATOMIC_REQUESTS is on for the database {alias!r}.",
            hint="Take it out. Services open their own, short transactions.",
            id="usher.E001",
        )
        for alias, database in settings.DATABASES.items()
        if database.get("ATOMIC_REQUESTS")
    ]


@register
def check_choices(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E002: a value that is mistyped would otherwise mean the default, in silence."""
    return [
        Error(
            f"{name} is {getattr(settings, name)!r}.",
            hint=f"Set it to {' or '.join(repr(value) for value in values)}.",
            id="usher.E002",
        )
        for name, values in CHOICES.items()
        if getattr(settings, name) not in values
    ]


@register
def check_public_url(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E003: links in mails and invitations must be safe to follow."""
    if not settings.PRODUCTION or settings.PUBLIC_URL.startswith("https://"):
        return []
    return [
        Error(
            f"PUBLIC_URL is {settings.PUBLIC_URL!r}, which is not https.",
            hint="Set it to the address that people see, such as https://usher.example.",
            id="usher.E003",
        )
    ]


@register
def check_metrics(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E004, E005: who may read the metrics is said so that it means something."""
    findings: list[CheckMessage] = [
        Error(
            f"METRICS_NETWORKS has {entry!r}, which is no IP address and no network.",
            hint="Write addresses or networks such as 10.0.0.1,10.1.0.0/16, no names or ports.",
            id="usher.E004",
        )
        for entry in mistyped(settings.METRICS_NETWORKS)
    ]
    if settings.METRICS_TOKEN and len(settings.METRICS_TOKEN) < SHORTEST_TOKEN:
        findings.append(
            Error(
                f"METRICS_TOKEN has fewer than {SHORTEST_TOKEN} characters: it can be guessed.",
                hint="Make one with `openssl rand -hex 32`.",
                id="usher.E005",
            )
        )
    return findings


@register
def check_alarms(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E014 to E016: an alarm that is mistyped would never be heard."""
    known = {receiver.name for receiver in all_receivers()}
    findings: list[CheckMessage] = [
        Error(
            f"ALARM_OVERDUE_S_BY_RECEIVER has {entry!r}.",
            hint="Write RECEIVER=SECONDS, separated by commas; 0 seconds: no alarm.",
            id="usher.E014",
        )
        for entry in thresholds.mistyped()
    ]
    findings += [
        Error(
            f"ALARM_OVERDUE_S_BY_RECEIVER names {name!r}, which is no receiver.",
            hint=f"There are: {', '.join(sorted(known))}.",
            id="usher.E015",
        )
        for name in sorted(thresholds.named() - known)
    ]
    if settings.ALARM_OVERDUE_S < 0:
        findings.append(
            Error(
                f"ALARM_OVERDUE_S is {settings.ALARM_OVERDUE_S}.",
                hint="Set it to a number of seconds; 0: no receiver is ever overdue.",
                id="usher.E014",
            )
        )
    findings += [
        Error(
            f"ALARM_MAILS has {address!r}, which is no e-mail address.",
            hint="Write whole addresses without names, separated by commas.",
            id="usher.E016",
        )
        for address in settings.ALARM_MAILS
        if not _is_address(address)
    ]
    return findings


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


@register
def check_sqlite(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W001: production on a SQLite with a known, very rare corruption bug."""
    if not (settings.PRODUCTION and settings.USES_SQLITE):
        return []
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        return []
    return [
        Warning(
            f"SQLite {sqlite3.sqlite_version} can, very rarely, damage a database in WAL mode "
            "that several processes write.",
            hint="Use SQLite 3.51.3 or newer, or PostgreSQL (DATABASE_URL=postgres://…).",
            id="usher.W001",
        )
    ]
