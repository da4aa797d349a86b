"""The admin puts what is in its addresses into queries, and PostgreSQL refuses NUL there."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from project import failures

ADMIN = "/admin/"


class RefuseNulMiddleware:
    """Answer 400 where an address of the admin holds a NUL. Pages of ours see to it themselves."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(ADMIN) and _holds_nul(request):
            return failures.page(request, HTTPStatus.BAD_REQUEST)
        return self.get_response(request)


def _holds_nul(request: HttpRequest) -> bool:
    return "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", "")
