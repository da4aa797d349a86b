"""Settings of the relay that would fail later, found before they do."""

import binascii
import ipaddress
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from events.receivers import get_receiver
from relay.validation import relayable_signals


@register()
def check_relayed_types(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E001: an app whose events are declared after the relay was set up would not be relayed."""
    connected = {signal.type for signal in get_receiver("relay.fan_out").signals}
    return [
        Error(
            f"The event {signal.type} is declared, but not relayed.",
            hint="Put 'relay' behind its app in INSTALLED_APPS, and import its signals in ready().",
            id="relay.E001",
        )
        for signal in relayable_signals()
        if signal.type not in connected
    ]


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E002 to E004: networks and secrets must be such; the inbox remembers for a day at least."""
    networks = [n for n in settings.RELAY_ALLOWED_NETWORKS if not _is_network(n)]
    findings: list[CheckMessage] = [
        Error(
            f"RELAY_ALLOWED_NETWORKS has {network!r}, which is no network.",
            hint="Write it like 10.20.0.0/16 or fd00::/8, with no bits set behind the prefix.",
            id="relay.E002",
        )
        for network in networks
    ]
    findings += [
        Error(
            f"Secret number {number} of RISK_DECISION_SECRETS can't be read.",
            hint="It is whsec_ and base64.",
            id="relay.E003",
        )
        for number, secret in enumerate(settings.RISK_DECISION_SECRETS, start=1)
        if not _is_secret(secret)
    ]
    if settings.RELAY_INBOX_DAYS < 1:
        findings.append(
            Error(
                f"RELAY_INBOX_DAYS is {settings.RELAY_INBOX_DAYS}: messages would apply twice.",
                hint="Let it be longer than a message may be on its way, 90 for example.",
                id="relay.E004",
            )
        )
    return findings


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_secret(text: str) -> bool:
    try:
        Webhook(text)
    except (EmptyWebhookSecretError, binascii.Error, ValueError):
        return False
    return True
