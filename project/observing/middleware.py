"""A span around each request, where traces are on: it is not installed where they are off."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from opentelemetry.trace import Status, StatusCode

from accounts import proxies
from project.observing import starting
from project.observing.tracing import HEADER


class TracingMiddleware:
    """Run the request in a span that is named after its route: addresses hold codes and tokens."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        tracer = starting.tracer()
        if tracer is None:
            return self.get_response(request)
        method = request.method or ""
        with tracer.requested(method, parent=_parent(request)) as span:
            response = self.get_response(request)
            if request.resolver_match:
                span.update_name(f"{method} /{request.resolver_match.route}")
                span.set_attribute("http.route", f"/{request.resolver_match.route}")
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 500:
                span.set_status(Status(StatusCode.ERROR))
            return response


def _parent(request: HttpRequest) -> str:
    """Return the trace that a trusted proxy began. Others may not choose whether we trace."""
    if not proxies.is_trusted(request.META.get("REMOTE_ADDR", "")):
        return ""
    return request.headers.get(HEADER, "")
