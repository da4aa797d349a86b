"""How spans leave a process: by a thread, started by the first of them, never waited for.

A worker's supervisor imports this and forks (docs/adr/0028): importing it starts nothing.
"""

import atexit
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize

from django.conf import settings
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import NoOpTracer, Tracer

from project.observing.starting import tell_why_off

END_WITHIN_S = 2.0  # what has not left by then is lost: a dead collector keeps nobody from ending
TIMEOUT_S = 3.0  # of one request to the collector, unless the environment says otherwise


class Provider:
    """Gives each process a tracer of its own, made when it is first asked for."""

    def __init__(self, make: Callable[[], TracerProvider]) -> None:
        self._make = make
        self._pid = 0
        self._tracer: Tracer | None = None

    def tracer(self) -> Tracer:
        """Return this process's tracer; one that does nothing where it can't be made."""
        if self._tracer is None or self._pid != os.getpid():
            self._tracer = self._made()
            self._pid = os.getpid()
        return self._tracer

    def _made(self) -> Tracer:
        try:
            return self._make().get_tracer("usher", settings.RELEASE)
        except Exception as error:  # whatever a variable can break: never a request, or a delivery
            tell_why_off(error)
            return NoOpTracer()


class UntilTheEnd(SpanExporter):
    """Hands spans on; when the process ends, for a moment only."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.ends_at = float("inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans, unless it is too late."""
        if time.monotonic() > self.ends_at:
            return SpanExportResult.FAILURE
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()


def provider_of(exporter: Callable[[], SpanExporter]) -> Provider:
    """Return a provider whose tracers export in the background."""

    def make() -> TracerProvider:
        last = UntilTheEnd(exporter())
        processor = BatchSpanProcessor(last)
        provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
        provider.add_span_processor(processor)

        def end() -> None:
            last.ends_at = time.monotonic() + END_WITHIN_S
            processor.shutdown()  # type: ignore[no-untyped-call]

        atexit.register(end)
        Finalize(None, end, exitpriority=0)  # processes of multiprocessing end without atexit
        return provider

    return Provider(make)


def exporter_by_environment() -> SpanExporter:
    """Return the exporter that OTEL_TRACES_EXPORTER names: OTLP over HTTP, or the console."""
    if settings.OTEL_TRACES_EXPORTER == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    said = {OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT} & os.environ.keys()
    return OTLPSpanExporter() if said else OTLPSpanExporter(timeout=TIMEOUT_S)


def resource() -> Resource:
    """Return what all spans of this process have in common. What the environment says counts."""
    ours = {
        "service.name": "usher",
        "service.version": settings.RELEASE,
        "process.pid": os.getpid(),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
