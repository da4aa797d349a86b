"""Traces join a request, what it publishes, what receivers make of it, and what these publish."""

import os
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
from django.test import Client
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode

from accounts.services import register as register_account
from events.models import Delivery, DeliveryState, Event
from project.observing.exporting import Provider, provider_of
from project.observing.starting import trace_by
from tests.conftest import Drain, Misbehave, Publish
from tests.faults.world import PASSWORD, open_campaign_and_rule, register
from tests.processes import wait_until, worker

pytestmark = pytest.mark.django_db(transaction=True)

MIDDLEWARE = "project.observing.middleware.TracingMiddleware"
SIGN_UP_WITHIN_S = 2.0  # far less than what the collectors below would take


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """Trace into memory."""
    exporter = InMemorySpanExporter()

    def make() -> TracerProvider:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return provider

    trace_by(Provider(make))
    yield exporter
    trace_by(None)


def spans(exported: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """Return the spans of a name, in the order in which they ended."""
    return [span for span in exported.get_finished_spans() if span.name == name]


def ids(context: SpanContext | None) -> tuple[int, int] | None:
    """Return the trace and the span that a context names, wherever it came from."""
    return (context.trace_id, context.span_id) if context else None


def trace_of(span: ReadableSpan) -> int:
    """Return the number of a span's trace."""
    assert span.context is not None
    trace_id: int = span.context.trace_id
    return trace_id


def test_a_sign_up_is_one_trace_from_the_request_to_what_follows(
    exported: InMemorySpanExporter, client: Client, drain: Drain, settings: Any
) -> None:
    inviter = open_campaign_and_rule(drain)
    settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    exported.clear()

    body = {"email": "b@example.com", "password": PASSWORD, "referral_code": inviter.referral_code}
    client.post("/api/v1/registrations/", body, content_type="application/json")
    drain()

    (request,) = spans(exported, "POST /api/v1/registrations/")
    (published,) = spans(exported, "publish accounts.user_registered")
    (mailed,) = spans(exported, "process project.send_welcome_mail")
    (issued,) = spans(exported, "process coupons.issue_welcome_coupons")
    followed = spans(exported, "publish coupons.coupon_issued")[-1]
    (told,) = spans(exported, "process project.send_coupon_mail")
    assert {trace_of(s) for s in (published, mailed, issued, followed, told)} == {trace_of(request)}
    assert ids(published.parent) == ids(request.context)
    assert ids(issued.parent) == ids(mailed.parent) == ids(published.context)
    assert ids(followed.parent) == ids(issued.context)
    assert ids(told.parent) == ids(followed.context)


def test_a_batch_links_to_its_events_and_what_it_publishes_stays_in_their_traces(
    exported: InMemorySpanExporter, drain: Drain
) -> None:
    open_campaign_and_rule(drain)
    exported.clear()

    for name in "bc":
        register(f"{name}@example.com")
    drain()

    registered = spans(exported, "publish accounts.user_registered")
    (batch,) = spans(exported, "process coupons.issue_welcome_coupons")
    assert batch.parent is None
    assert [ids(link.context) for link in batch.links] == [ids(s.context) for s in registered]
    assert batch.attributes is not None
    assert batch.attributes["messaging.batch.message_count"] == 2
    issued = [s for s in spans(exported, "publish coupons.coupon_issued") if s.links]
    assert [ids(span.parent) for span in issued] == [ids(span.context) for span in registered]
    mails = spans(exported, "process project.send_coupon_mail")
    assert [ids(span.parent) for span in mails] == [ids(span.context) for span in issued]


def test_a_failure_is_told_without_the_address_in_it(
    exported: InMemorySpanExporter, publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1)

    drain()

    span = spans(exported, "process probe.record")[0]
    assert span.status.status_code is StatusCode.ERROR
    assert "told to fail by …@…" in (span.status.description or "")
    assert not span.events  # no traceback


def test_spans_hold_ids_and_no_data(exported: InMemorySpanExporter, drain: Drain) -> None:
    open_campaign_and_rule(drain)
    register("mei@example.com")
    drain()

    told = "".join(span.to_json() for span in exported.get_finished_spans())
    assert "example.com" not in told
    assert PASSWORD not in told


def test_an_event_says_to_which_span_it_belongs_and_tells_others(
    exported: InMemorySpanExporter, publish: Publish
) -> None:
    event = publish(1)

    (span,) = spans(exported, "publish probe.happened")
    assert event.trace_parent.split("-")[1] == f"{trace_of(span):032x}"
    assert event.to_cloudevent("https://usher.test")["traceparent"] == event.trace_parent


def test_without_traces_nothing_is_kept_or_told(publish: Publish) -> None:
    event = publish(1)

    assert Event.objects.get(event_id=event.id).trace_parent == ""
    assert "traceparent" not in event.to_cloudevent("https://usher.test")


def test_an_event_of_before_there_were_traces_begins_one(
    exported: InMemorySpanExporter, publish: Publish, drain: Drain
) -> None:
    publish(1)
    Event.objects.update(trace_parent="")
    Delivery.objects.exclude(receiver="probe.record").delete()
    exported.clear()

    drain()

    (span,) = spans(exported, "process probe.record")
    assert span.parent is None


def test_only_a_trusted_proxy_chooses_the_trace(
    exported: InMemorySpanExporter, client: Client, settings: Any
) -> None:
    settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    header = f"00-{trace_id}-00f067aa0ba902b7-01"

    client.get("/livez", headers={"traceparent": header})
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    client.get("/livez", headers={"traceparent": header})

    strange, joined = spans(exported, "GET /livez")
    assert f"{trace_of(strange):032x}" != trace_id
    assert f"{trace_of(joined):032x}" == trace_id


def test_a_bad_variable_costs_the_traces_alone(
    client: Client,
    publish: Publish,
    drain: Drain,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "256")  # a batch is of 512
    settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    trace_by(provider_of(InMemorySpanExporter))
    try:
        answers = [client.get("/livez").status_code for _ in range(2)]
        publish(1)
        drain()
    finally:
        trace_by(None)

    assert answers == [200, 200]
    assert not Delivery.objects.exclude(state=DeliveryState.DONE).exists()
    assert caplog.text.count("Traces are off in this process") == 1


class Collector(ThreadingHTTPServer):
    """A collector of OTLP over HTTP, which may hang."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[ExportTraceServiceRequest] = []
        self.let_go = Flag()
        self.let_go.set()

    @property
    def url(self) -> str:
        """Return the address, as OTEL_EXPORTER_OTLP_ENDPOINT names it."""
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[tuple[str, bytes, int]]:
        """Return the name, the trace and the process of every span so far."""
        return [
            (span.name, span.trace_id, _pid(resource.resource))
            for request in list(self.received)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Take a batch of spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.let_go.wait(30)
        if self.path == "/v1/traces":
            self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _pid(resource: Any) -> int:
    return next(int(a.value.int_value) for a in resource.attributes if a.key == "process.pid")


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector beside the test, and export to it."""
    with Collector() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        trace_by(provider_of(lambda: OTLPSpanExporter(f"{server.url}/v1/traces", timeout=5)))
        yield server
        server.let_go.set()
        trace_by(None)
        server.shutdown()


def test_a_forked_worker_exports_what_goes_on_in_a_trace_of_another_process(
    collector: Collector, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    open_campaign_and_rule(drain)

    with worker("mails", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url):
        register("b@example.com")
        wait_until(lambda: traces(collector, "process project.send_welcome_mail", here=False))

    published = traces(collector, "publish accounts.user_registered", here=True)
    assert traces(collector, "process project.send_welcome_mail", here=False) < published


def traces(collector: Collector, name: str, *, here: bool) -> set[bytes]:
    """Return the traces of the spans of a name that came from this process, or from others."""
    found = collector.spans()
    return {trace for n, trace, pid in found if n == name and (pid == os.getpid()) is here}


def test_a_sign_up_never_waits_for_a_collector_that_hangs(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    collector.let_go.clear()
    began = time.monotonic()

    for number in range(10):  # more than the queue holds: the rest is dropped
        register_account(email=f"p{number}@example.com", password=PASSWORD)

    assert time.monotonic() - began < SIGN_UP_WITHIN_S
    assert Event.objects.filter(type="accounts.user_registered").count() == 10
