"""Answers to what went wrong outside the API's views: a page for people, a problem for programs."""

import logging
import sys
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from events.context import correlation_id
from project.api.problems import is_api, problem_response
from project.outages import RETRY_AFTER_S, is_outage

logger = logging.getLogger(__name__)

_PLAIN = (
    "<!doctype html><html lang=en><title>Usher</title>"
    "<h1>Something went wrong on our side</h1><p>Request id: {request_id}</p></html>"
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400."""
    return page(request, HTTPStatus.BAD_REQUEST)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return page(request, HTTPStatus.FORBIDDEN)


def csrf(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 where a form came without its token (settings: CSRF_FAILURE_VIEW)."""
    return page(request, HTTPStatus.FORBIDDEN, "403_csrf.html")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return page(request, HTTPStatus.NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 where the database is away or busy. Django calls it in an except block."""
    if not is_outage(sys.exc_info()[1]):
        return page(request, HTTPStatus.INTERNAL_SERVER_ERROR)
    answer = page(request, HTTPStatus.SERVICE_UNAVAILABLE)
    answer["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def page(request: HttpRequest, status: HTTPStatus, template: str = "") -> HttpResponse:
    """Answer with a status. This must never fail itself, so that something always answers."""
    if is_api(request):
        return problem_response(status)
    context = {"request_id": correlation_id(), "status": int(status)}
    try:
        return render(request, template or f"{status:d}.html", context, status=status)
    except Exception:
        logger.exception("The page for status %d could not be rendered.", status)
        return HttpResponse(_PLAIN.format(**context), status=status)
