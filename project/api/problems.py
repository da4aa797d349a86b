"""RFC 9457 problem documents: the form of every error under /api/."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext_lazy as _

from events.context import correlation_id

CONTENT_TYPE = "application/problem+json"
API_PREFIX = "/api/"


class FieldError(TypedDict):
    """What is wrong with one part of the request's body."""

    pointer: str  # RFC 6901; "" is the whole document
    code: str
    detail: str


# Where nothing more precise is known than the status: its code, and a sentence with the remedy.
_BY_STATUS = {
    400: ("bad_request", _("The request can't be understood.")),
    401: ("not_authenticated", _("Log in first, or send a token.")),
    403: ("permission_denied", _("You may not do this.")),
    404: ("not_found", _("There is nothing at this address.")),
    405: ("method_not_allowed", _("This address does not support the method.")),
    409: ("conflict", _("The request contradicts the present state.")),
    413: ("body_too_large", _("The body is too large.")),
    415: ("unsupported_media_type", _("Send the body as application/json.")),
    429: ("throttled", _("Too many requests. Wait, then try again.")),
    500: (
        "internal_error",
        _("Something went wrong on our side. Name the request id when you report it."),
    ),
    503: ("unavailable", _("The service can't answer at the moment. Try again shortly.")),
}


def is_api(request: HttpRequest) -> bool:
    """Tell whether a request speaks to the API, where errors are problem documents."""
    return request.path_info.startswith(API_PREFIX)


def problem(
    status: int,
    *,
    code: str | None = None,
    detail: str | None = None,
    errors: Sequence[FieldError] | None = None,
) -> dict[str, Any]:
    """Return a problem document. `code` and `detail` default to those of the status."""
    default_code, default_detail = _BY_STATUS.get(status, ("error", _("The request failed.")))
    document: dict[str, Any] = {
        "type": "about:blank",  # the title is that of the status; `code` tells more
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _encodable(detail or str(default_detail)),
        "code": code or default_code,
        "request_id": correlation_id(),
    }
    if errors is not None:
        document["errors"] = [
            {name: _encodable(str(text)) for name, text in error.items()} for error in errors
        ]
    return document


def problem_response(status: int) -> HttpResponse:
    """Return a problem where no view of the API was reached."""
    answer = JsonResponse(problem(status), status=status, content_type=CONTENT_TYPE)
    answer.headers["Content-Length"] = str(len(answer.content))
    return answer


def pointer(path: Sequence[str | int]) -> str:
    """Return the JSON pointer (RFC 6901) to a place: ["a/b", 0] → "/a~1b/0"."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _encodable(text: str) -> str:
    # A sentence may quote what was sent, and that may hold lone surrogates.
    return text.encode("utf-8", "replace").decode()
