"""Errors go to Sentry, where SENTRY_DSN names one: what failed and where, and nothing about whom.

An event is made anew from what is allowed in it; texts are masked. See docs/monitoring.md.
"""

from collections.abc import Callable
from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception

from events.logs import place
from project.observing.masking import mask

# What an event keeps as it is. Its texts, and what is told of the request, are made anew.
KEPT = (
    "event_id",
    "timestamp",
    "level",
    "logger",
    "platform",
    "release",
    "environment",
    "server_name",
    "modules",
    "sdk",
)
MASKED = ("exception", "logentry", "transaction", "message")
OF_A_FRAME = (
    "filename",
    "function",
    "module",
    "lineno",
    "pre_context",
    "context_line",
    "post_context",
    "in_app",
)


def start(transport: Callable[..., Transport] | type[Transport] | None = None) -> None:
    """Report errors from now on. It starts no thread before there is one to report."""
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        release=settings.RELEASE or None,
        environment=settings.USHER_ENV,
        transport=transport,  # type: ignore[arg-type]  # a class will do
        before_send=scrub,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=None,  # traces: see project.observing.tracing
        trace_propagation_targets=[],
        auto_session_tracking=False,
        send_client_reports=False,
        default_integrations=False,  # one of them sends command lines, which may hold an address
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda pending, timeout: None),
            DedupeIntegration(),
            DjangoIntegration(middleware_spans=False, signals_spans=False),
            ExcepthookIntegration(),
            LoggingIntegration(),
            ThreadingIntegration(),
        ],
    )


def scrub(event: Event, hint: Hint) -> Event | None:
    """Return what may leave of an event."""
    given: dict[str, Any] = {**event, **_of_a_delivery(hint)}
    kept: dict[str, Any] = {name: given[name] for name in KEPT if name in given}
    kept |= {name: _masked(given[name]) for name in MASKED if name in given}
    if method := (given.get("request") or {}).get("method"):
        kept["request"] = {"method": method}
    kept["tags"] = tags = _tags()
    if "receiver" in tags:
        kept["fingerprint"] = ["{{ default }}", tags["receiver"]]
    return kept  # type: ignore[return-value]


def _of_a_delivery(hint: Hint) -> dict[str, Any]:
    """Return the exception that a failed delivery was logged for, as an event has it."""
    error = getattr(hint.get("log_record"), "error", None)
    if not isinstance(error, BaseException):
        return {}
    options = sentry_sdk.get_client().options
    return dict(event_from_exception(error, client_options=options)[0])


def _tags() -> dict[str, str]:
    """Return which request, event and delivery it belongs to: by their ids one finds the rest."""
    return {name: str(value)[:200] for name, value in place().items()}


def _masked(value: Any) -> Any:
    """Mask every text in a value, but for source code; leave out the rest that frames hold."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "frames" in value:
        frames = [{name: f[name] for name in OF_A_FRAME if name in f} for f in value["frames"]]
        return {"frames": frames}
    return {name: _masked(each) for name, each in value.items()}
