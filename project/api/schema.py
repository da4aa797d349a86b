"""What the OpenAPI document says about errors: the same for every call, so said once."""

from typing import Any

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
_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Any text of yours, such as a UUID. Within 24 hours the same request under the "
    "same key has no further effect and gets the first answer again, with "
    "`Idempotent-Replayed: true`; another one gets 422 `idempotency_key_reused`, and one that "
    "comes while the first still runs 409 `idempotency_key_in_use`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_NEVER_KEPT = "/tokens/"  # its answer is a secret
_METHODS = {"get", "post", "put", "patch", "delete"}


def describe_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add the problem document to every call (one of drf-spectacular's POSTPROCESSING_HOOKS).

    Calls describe the errors that are theirs; all of them answer any other error like this.
    """
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for item in result["paths"].values():
        for method in _METHODS & item.keys():
            answers = item[method]["responses"]
            answers.setdefault("default", {"description": "Any error", "content": content})
            for status, answer in answers.items():
                if status.startswith(("4", "5")):
                    described = answer.setdefault("content", {})
                    # The app's examples stay; the schema is the one of all problems.
                    described[CONTENT_TYPE] = {
                        **described.get(CONTENT_TYPE, {}),
                        **content[CONTENT_TYPE],
                    }
    return result


def describe_idempotency(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add the header that makes a POST repeatable to every one that takes it."""
    for path, item in result["paths"].items():
        if "post" in item and not path.endswith(_NEVER_KEPT):
            item["post"].setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return result
