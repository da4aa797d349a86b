"""Answers to what went wrong outside the API's views: a page for people, a problem for programs."""

import logging
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from events.context import correlation_id
from project.api.problems import is_api, problem_response
from project.outages import RETRY_AFTER_S, is_outage

logger = logging.getLogger(__name__)

_TOKEN = "csrfmiddlewaretoken"  # noqa: S105  the name of a form's field
_FOREIGN = "Origin checking failed"  # as Django's reason begins

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
    """Answer 403 where a form came without its token (settings: CSRF_FAILURE_VIEW).

    What was typed into a form of ours is kept, but for passwords, and can be sent again.
    """
    kept = _typed(request) if _is_our_form(request, reason) else None
    asks_password = any(map(_is_secret, request.POST))
    context = {"kept": kept, "asks_password": asks_password, "path": request.get_full_path()}
    return page(request, HTTPStatus.FORBIDDEN, "403_csrf.html", context)


def _is_our_form(request: HttpRequest, reason: str) -> bool:
    """Tell whether a page of ours sent this: its origin was looked at before its token was."""
    is_from_here = "Origin" in request.headers and not reason.startswith(_FOREIGN)
    return is_from_here and not request.path_info.startswith("/admin/")


def _typed(request: HttpRequest) -> list[tuple[str, str]]:
    return [
        (name, str(value))
        for name, values in request.POST.lists()
        if name != _TOKEN and not _is_secret(name)
        for value in values
    ]


def _is_secret(name: str) -> bool:
    return "password" in name or name in {"code", "credential"}


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return page(request, HTTPStatus.NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 where the database is away or busy. Django calls it in an except block."""
    if not is_outage(sys.exc_info()[1]):
        return page(request, HTTPStatus.INTERNAL_SERVER_ERROR)
    return _unavailable(request)


def _unavailable(request: HttpRequest) -> HttpResponse:
    answer = page(request, HTTPStatus.SERVICE_UNAVAILABLE)
    answer["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def page(
    request: HttpRequest,
    status: HTTPStatus,
    template: str = "",
    told: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """Answer with a status. This must never fail itself, so that something always answers."""
    if is_api(request):
        return problem_response(status)
    context = {"request_id": correlation_id(), "status": int(status)}
    told = told or {}
    try:
        return render(request, template or f"{status:d}.html", {**context, **told}, status=status)
    except Exception as error:
        logger.exception("The page for status %d could not be rendered.", status)
        # Pages in the usual frame ask who is logged in; this one asks nothing of the database.
        if is_outage(error) and status != HTTPStatus.SERVICE_UNAVAILABLE:
            return _unavailable(request)
        return HttpResponse(_PLAIN.format(**context), status=status)
