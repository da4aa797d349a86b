"""What becomes of an exception in an API view. `problem_handler` is DRF's EXCEPTION_HANDLER."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.settings import api_settings

from api.openapi import INVALID
from project.api.exceptions import BodyTooLarge, ServiceUnavailable
from project.api.problems import CONTENT_TYPE, FieldError, pointer, problem
from project.outages import is_outage

logger = logging.getLogger(__name__)

_UNREADABLE = (SuspiciousOperation, BadRequest, MultiPartParserError, UnreadablePostError)


def problem_handler(exc: Exception, context: Any) -> Response | None:
    """Answer any exception of an API view with a problem document.

    Apps raise subclasses of DRF's APIException with a status_code and a default_code of their own.
    """
    return ProblemHandler(exc, context).run()


class ProblemHandler(ExceptionHandler):
    """drf-standardized-errors' handler (it converts, reports and logs), answering in RFC 9457."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """Return the APIException that says the same, where there is one."""
        if isinstance(exc, DjangoValidationError):
            return ValidationError(as_serializer_error(exc))
        if isinstance(exc, RequestDataTooBig):
            return BodyTooLarge()
        if isinstance(exc, _UNREADABLE):
            return ParseError(code="bad_request")
        if is_outage(exc):
            return ServiceUnavailable()
        return super().convert_known_exceptions(exc)

    def report_exception(self, exc: APIException, response: Response) -> None:
        """Report a fault with its traceback, and an outage in a line: every request meets it."""
        if isinstance(exc, ServiceUnavailable):
            logger.warning("Answered 503 (%s): %s", type(self.exc).__name__, self.exc)
        else:
            super().report_exception(exc, response)

    def should_not_handle(self, exc: Exception) -> bool:
        """Handle everything, also with DEBUG on: the traceback is in the log, not in the answer."""
        return False

    def convert_unhandled_exceptions(self, exc: Exception) -> APIException:
        """Say nothing about the exception but that there was one."""
        return exc if isinstance(exc, APIException) else APIException(code="internal_error")

    def format_exception(self, exc: APIException) -> dict[str, Any]:
        """Return the problem document."""
        if isinstance(exc, ValidationError):
            errors = list(_field_errors(as_serializer_error(exc), ()))
            return problem(exc.status_code, code=INVALID, detail=_summary(errors), errors=errors)
        if isinstance(exc.detail, ErrorDetail):
            return problem(exc.status_code, code=exc.detail.code, detail=_detail(exc))
        return problem(exc.status_code)

    def get_response(self, exc: APIException, data: dict[str, Any]) -> Response:
        """Return the answer, with Retry-After and WWW-Authenticate where they belong."""
        request, headers = self.context["request"], self.get_headers(exc)
        if request is not None:
            # Whatever the view would have rendered: an error is JSON.
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), CONTENT_TYPE
        return Response(data, status=exc.status_code, headers=headers, content_type=CONTENT_TYPE)


def _detail(exc: APIException) -> str | None:
    # DRF's own sentence of a 5xx ("A server error occurred.") names no remedy; ours does.
    text = str(exc.detail)
    return None if text == str(APIException.default_detail) else text


def _summary(errors: list[FieldError]) -> str:
    return " ".join(dict.fromkeys(error["detail"] for error in errors))


def _field_errors(detail: Any, path: tuple[str | int, ...]) -> Iterator[FieldError]:
    """Walk DRF's nested errors. Its key for errors of a whole object adds no step to the path."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            whole = key == api_settings.NON_FIELD_ERRORS_KEY
            yield from _field_errors(value, path if whole else (*path, key))
    elif isinstance(detail, list):
        for index, item in enumerate(detail):
            # A list of sentences is about this place; a list of objects is about its items.
            place = path if isinstance(item, ErrorDetail) else (*path, index)
            yield from _field_errors(item, place)
    else:
        code = (detail.code if isinstance(detail, ErrorDetail) else None) or INVALID
        yield FieldError(pointer=pointer(path), code=code, detail=str(detail))
