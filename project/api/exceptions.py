"""Refusals that no app makes. Apps have their own, each with a status_code and a default_code."""

from rest_framework import status
from rest_framework.exceptions import APIException

from project.outages import RETRY_AFTER_S


class ServiceUnavailable(APIException):
    """503: the database does not answer, or has no turn for us. Another try may succeed."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    wait = RETRY_AFTER_S


class BodyTooLarge(APIException):
    """413: the body is larger than API_MAX_BODY_BYTES."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
