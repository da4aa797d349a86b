"""Checks of what accounts is set to."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from accounts import proxies


@register(Tags.security)
def check_trusted_proxies(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E001: a mistyped proxy is not trusted, so everyone behind it would share one rate limit."""
    return [
        Error(
            f"TRUSTED_PROXIES has {entry!r}, which is no IP address and no network.",
            hint="Write addresses or networks such as 10.0.0.1,10.1.0.0/16, no names or ports.",
            id="accounts.E001",
        )
        for entry in proxies.mistyped(settings.TRUSTED_PROXIES)
    ]
