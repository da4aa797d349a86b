"""Give every request its correlation id, taken from X-Request-ID or made."""

import re
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from events.context import MAX_CORRELATION_ID_LENGTH, correlation_id, requested

HEADER = "X-Request-ID"
# What may travel into logs, rows and answers unchanged; anything else is replaced, not repaired.
_ACCEPTABLE = re.compile(rf"[A-Za-z0-9._:/+=-]{{1,{MAX_CORRELATION_ID_LENGTH}}}")


class CorrelationMiddleware:
    """Run the request under its correlation id and name it in the answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with requested(_request_id(request)):
            # Django logs an answer's status after this middleware is left: see events.logs.
            request.correlation_id = correlation_id()  # type: ignore[attr-defined]
            response = self.get_response(request)
            response[HEADER] = correlation_id()
            return response


def _request_id(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    if _ACCEPTABLE.fullmatch(given):
        return given
    return str(uuid4())
