"""How the OpenAPI document describes error answers, and bodies that take known names alone."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import (
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

PROBLEM = "application/problem+json"
INVALID = "invalid"  # the code of every answer that lists field errors
_NO_NUL = r"^[^\x00]*$"
_NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"


class StrictTextSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """What a StrictCharField refuses beside what is too long: NUL, and nothing but spaces."""

    target_class = "api.fields.StrictCharField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the field's schema. Whether it may be null is added to it."""
        field = self.target
        schema: dict[str, Any] = {"type": "string"}
        if field.max_length is not None:
            schema["maxLength"] = field.max_length
        if field.allow_blank:
            return schema
        return {
            **schema,
            "minLength": 1,
            "pattern": _NOT_BLANK if field.trim_whitespace else _NO_NUL,
        }


class Problem(serializers.Serializer[Any]):
    """An error, as RFC 9457 has it."""

    class FieldError(serializers.Serializer[Any]):
        """What is wrong with one field."""

        pointer = serializers.CharField(help_text="A JSON pointer into the request.")
        code = serializers.CharField()
        detail = serializers.CharField()

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="Stable: branch on this.")
    request_id = serializers.CharField()
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]  # a field here


class StrictSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Says of the bodies that refuse unknown names that they do."""

    target_class = "api.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        """Return the schema of the body."""
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


def problem(description: str, status: int, *codes: str) -> OpenApiResponse:
    """Describe one error answer, with an example of each of its codes."""
    return OpenApiResponse(
        Problem,
        description=description,
        examples=[
            OpenApiExample(
                code,
                value=problem_example(status, code, description),
                response_only=True,
                media_type=PROBLEM,
            )
            for code in codes
        ],
    )


def problem_example(status: int, code: str, detail: str) -> dict[str, Any]:
    """Return a problem document as it may be answered."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "7f0c3b1e-9a53-4f0e-8a3e-0d8f3c5d2b11",
    }
    if code == INVALID:
        document["errors"] = [{"pointer": "/field", "code": "required", "detail": detail}]
    return document
