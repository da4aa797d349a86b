"""What is traced: requests, the publishing of events, and each call of a receiver.

A single event is processed in the trace that published it. A batch has a trace of its own, which
links to its events; what a batch publishes goes on in the trace of the event that caused it. Spans
carry ids and types, never data: no address, no code, no message of an error that is not masked.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from events.delivery.failure import describe
from events.envelope import Event
from events.models import Event as EventRow

if TYPE_CHECKING:  # it needs the SDK, which may be missing
    from project.observing.exporting import Provider

MAX_LINKS = 128  # of one batch: as many as the SDK keeps
HEADER = "traceparent"

_propagator = TraceContextTextMapPropagator()


class OpenTelemetryTracer:
    """Tells OpenTelemetry what the backbone does. See `events.tracing.Tracer`."""

    def __init__(self, provider: "Provider") -> None:
        self._provider = provider

    @contextmanager
    def publishing(
        self, rows: Sequence[EventRow], causes: Sequence[Event[Any]] | None
    ) -> Iterator[None]:
        """Trace the insertion of events, and let each remember the span it belongs to."""
        first = rows[0]
        attributes = {**_attributes("publish", first.type), **_identity(rows)}
        with self._span(f"publish {first.type}", SpanKind.PRODUCER, attributes) as span:
            for number, row in enumerate(rows):
                context = self._goes_on(row, causes[number], span) if causes else None
                row.trace_parent = _parent_of(context)
            yield

    @contextmanager
    def processing(self, receiver: str, events: Sequence[Event[Any]]) -> Iterator[None]:
        """Trace one call of a receiver: in the trace of its event, or linked to those of many."""
        traced = [context_of(event.trace_parent) for event in events if event.trace_parent]
        context = traced[0] if len(events) == 1 and traced else Context()
        links = [] if len(events) == 1 else _links_to(traced)
        attributes = {
            **_attributes("process", events[0].type),
            "messaging.consumer.group.name": receiver,
            **_identity(events),
        }
        name = f"process {receiver}"
        with self._span(name, SpanKind.CONSUMER, attributes, context=context, links=links):
            yield

    def current_ids(self) -> tuple[str, str] | None:
        """Return the ids of the trace and of the span that the running code is part of."""
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return None
        return trace.format_trace_id(current.trace_id), trace.format_span_id(current.span_id)

    def _goes_on(self, row: EventRow, cause: Event[Any], published: Span) -> Context | None:
        """Return where a follow-on event of a batch belongs: to a span in its cause's trace.

        None: the running span is in that trace already, or the cause was not traced.
        """
        context = context_of(cause.trace_parent)
        into = trace.get_current_span(context).get_span_context()
        if not into.is_valid or into.trace_id == published.get_span_context().trace_id:
            return None
        attributes = {**_attributes("publish", row.type), **_identity([row])}
        span = self._provider.tracer().start_span(
            f"publish {row.type}",
            context=context,
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            links=[Link(published.get_span_context())],
        )
        span.end()
        return trace.set_span_in_context(span, Context())

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, Any],
        *,
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """Run a block in a span. How it failed is told as in `failed attempts`: masked."""
        with self._provider.tracer().start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                failure = describe(error)
                span.set_status(Status(StatusCode.ERROR, failure.summary))
                span.set_attribute("error.type", failure.error_class)
                raise

    @contextmanager
    def requested(self, method: str, *, parent: str) -> Iterator[Span]:
        """Trace one request; `parent` is the header of a proxy's that is trusted, or empty."""
        context = context_of(parent) if parent else Context()
        attributes = {"http.request.method": method}
        with self._span(method, SpanKind.SERVER, attributes, context=context) as span:
            yield span


def context_of(trace_parent: str) -> Context:
    """Return the context that a W3C `traceparent` names; an empty one where it names none."""
    return _propagator.extract({HEADER: trace_parent}, context=Context())


def _parent_of(context: Context | None) -> str:
    """Return the `traceparent` of a context, by default the running one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, context=context)
    return carrier.get(HEADER, "")


def _links_to(contexts: Sequence[Context]) -> list[Link]:
    spans = [trace.get_current_span(context).get_span_context() for context in contexts]
    return [Link(span) for span in spans[:MAX_LINKS] if span.is_valid]


def _attributes(operation: str, type_: str) -> dict[str, Any]:
    """Return what OpenTelemetry's conventions for messaging ask for."""
    return {
        "messaging.system": "usher",
        "messaging.operation.type": "send" if operation == "publish" else operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": type_,
    }


def _identity(events: Sequence[EventRow | Event[Any]]) -> dict[str, Any]:
    if len(events) > 1:
        return {"messaging.batch.message_count": len(events)}
    (event,) = events
    id_ = event.event_id if isinstance(event, EventRow) else event.id
    return {
        "messaging.message.id": str(id_),
        "messaging.message.conversation_id": event.correlation_id,
    }
