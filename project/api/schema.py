"""What the OpenAPI document says of many calls in the same words, so said once."""

from typing import Any

from api.caching import REVALIDATED
from api.openapi import problem_example
from project.api.operations import AROUND_VIEWS
from project.api.problems import CONTENT_TYPE

_ERROR = {
    "type": "object",
    "description": "What is wrong with one part of the body.",
    "properties": {
        "pointer": {
            "type": "string",
            "description": "JSON pointer (RFC 6901) to the part; empty: the whole body.",
        },
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
    "required": ["pointer", "code", "detail"],
}
PROBLEM = {
    "type": "object",
    "description": "Any error (RFC 9457). Programs decide by `code`, people read `detail`.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string", "description": "The phrase of the status."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "In the language of Accept-Language."},
        "code": {"type": "string", "examples": ["email_taken"]},
        "request_id": {"type": "string", "description": "Also in X-Request-ID, and in the logs."},
        "errors": {"type": "array", "items": _ERROR},
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "The `ETag` of the answer you have: 304 without a body while it still holds.",
    "schema": {"type": "string"},
}
_OF_REVALIDATED = {
    "ETag": {
        "description": "Of this answer, to this caller, in this language.",
        "schema": {"type": "string"},
    },
    "Cache-Control": {"schema": {"type": "string", "const": "private, no-cache"}},
}
_METHODS = {"get", "post", "put", "patch", "delete"}


def describe_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add the problem document to every call (one of drf-spectacular's POSTPROCESSING_HOOKS).

    Calls describe the errors that are theirs; all of them answer any other error like this.
    """
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    result["components"]["examples"] = {
        code: {"value": problem_example(status, code, detail)}
        for code, (status, detail) in AROUND_VIEWS.items()
    }
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    fault = {"internal_error": {"$ref": "#/components/examples/internal_error"}}
    other = {CONTENT_TYPE: {**content[CONTENT_TYPE], "examples": fault}}
    for item in result["paths"].values():
        for method in _METHODS & item.keys():
            answers = item[method]["responses"]
            answers.setdefault("default", {"description": "Any error", "content": other})
            for status, answer in answers.items():
                if status.startswith(("4", "5")):
                    described = answer.setdefault("content", {})
                    # The app's examples stay; the schema is the one of all problems.
                    described[CONTENT_TYPE] = {
                        **described.get(CONTENT_TYPE, {}),
                        **content[CONTENT_TYPE],
                    }
    return result


def describe_revalidation(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Say of every call that is `api.caching.revalidated` how one asks whether it has changed."""
    for item in result["paths"].values():
        call = item.get("get", {})
        if call.pop(REVALIDATED, False):
            call.setdefault("parameters", []).append(_IF_NONE_MATCH)
            call["responses"]["200"]["headers"] = _OF_REVALIDATED
            call["responses"]["304"] = {
                "description": "Not modified: what you have still holds.",
                "headers": _OF_REVALIDATED,
            }
    return result
