"""No HTML under /api/: whatever answers there, also before and around the views, speaks JSON."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.permissions import SAFE_METHODS

from project.api.problems import CONTENT_TYPE, is_api, problem_response

_OF_THE_BODY = {"content-type", "content-length", "content-encoding", "content-language"}


class ProblemMiddleware:
    """Turn error answers that are no problem documents into ones, their other headers kept.

    Such are the bare answers of Django's own views, and its technical pages with DEBUG on.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not is_api(request):
            return response
        if response.status_code == HTTPStatus.MOVED_PERMANENTLY:
            _keep_method(request, response)
        if response.status_code < HTTPStatus.BAD_REQUEST or _is_problem(response):
            return response
        return _as_problem(response)


def _keep_method(request: HttpRequest, response: HttpResponse) -> None:
    # After a 301 (a slash was missing) clients repeat a POST as GET; after a 308 they must not.
    if request.method not in SAFE_METHODS:
        response.status_code = HTTPStatus.PERMANENT_REDIRECT


def _is_problem(response: HttpResponse) -> bool:
    return response.headers.get("Content-Type", "").startswith(CONTENT_TYPE)


def _as_problem(response: HttpResponse) -> HttpResponse:
    answer = problem_response(response.status_code)
    answer.cookies = response.cookies
    for name, value in response.headers.items():
        if name.lower() not in _OF_THE_BODY:
            answer.headers[name] = value
    return answer
