"""Begin to trace and to report errors, where the environment asks for it."""

import logging
from typing import TYPE_CHECKING

from django.conf import settings

from events import tracing as backbone

if TYPE_CHECKING:
    from project.observing.exporting import Provider
    from project.observing.tracing import OpenTelemetryTracer

logger = logging.getLogger(__name__)

_tracer: "OpenTelemetryTracer | None" = None


def start() -> None:
    """Begin what is configured. What is not installed is named, and nothing fails for it."""
    for wanted, begin in ((settings.TRACES, _trace), (settings.SENTRY_DSN, _report_errors)):
        if wanted:
            try:
                begin()
            except ImportError as missing:  # see also the system checks
                logger.error("%s. Install requirements-observability.txt.", missing)


def _trace() -> None:
    try:
        from project.observing.exporting import exporter_by_environment, provider_of
    except ValueError as error:  # the SDK reads some of its variables when it is imported
        tell_why_off(error)
        return
    trace_by(provider_of(exporter_by_environment))


def tell_why_off(error: Exception) -> None:
    """Log why this process traces nothing, and what to do about it."""
    remedy = (
        "Install requirements-observability.txt"
        if isinstance(error, ImportError)
        else "Mend or take out the OTEL_… variable that it speaks of"
    )
    logger.error(
        "Traces are off in this process (%s: %s). %s, and restart.",
        *(type(error).__name__, error, remedy),
    )


def _report_errors() -> None:
    from project.observing import errors

    errors.start()


def trace_by(provider: "Provider | None") -> None:
    """Trace by a provider of tracers, or not at all."""
    global _tracer
    _tracer = None
    if provider is not None:
        from project.observing.tracing import OpenTelemetryTracer

        _tracer = OpenTelemetryTracer(provider)
    backbone.use(_tracer)


def tracer() -> "OpenTelemetryTracer | None":
    """Return what requests are traced by, or None."""
    return _tracer
