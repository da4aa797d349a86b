"""Which errors each call of the API can answer: derived from its view, so none is forgotten."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, AllowAny, IsAuthenticated
from rest_framework.views import APIView

from api.idempotency import HEADER
from api.openapi import PROBLEM

_SENTENCES = {
    "400": "The request can't be understood, or a part of it was refused.",
    "401": "Not logged in, or the token is not valid.",
    "403": "The caller may not do this; with a session, also: no CSRF token was sent.",
    "404": "There is nothing of this name, or nothing the caller may see.",
    "406": "Only application/json is spoken here.",
    "409": "It contradicts the present state, or a request with this key still runs.",
    "413": "The body is larger than 64 KiB.",
    "415": "The body is not declared as application/json in UTF-8.",
    "422": "The Idempotency-Key was used for another request.",
    "503": "The database does not answer. Try again after Retry-After.",
}
# What is answered around views, by its code: the status, and a sentence as an example.
AROUND_VIEWS = {
    "invalid": (400, "This field is required."),
    "malformed_json": (400, "The body is not valid JSON (line 1, column 2)."),
    "invalid_cursor": (400, "This cursor can't be used. Begin again without one."),
    "invalid_idempotency_key": (400, "An Idempotency-Key has 1 to 255 visible ASCII characters."),
    "not_authenticated": (401, "Log in first, or send a token."),
    "invalid_token": (401, "This token is not valid. Get a new one."),
    "mfa_required": (401, "This account needs its second factor, too."),
    "permission_denied": (403, "You may not do this."),
    "not_found": (404, "There is nothing at this address."),
    "not_acceptable": (406, "Could not satisfy the request Accept header."),
    "idempotency_key_in_use": (
        409,
        "A request with this Idempotency-Key is being worked on. Try again shortly.",
    ),
    "body_too_large": (413, "The body is too large."),
    "unsupported_media_type": (415, "Send the body as application/json."),
    "idempotency_key_reused": (
        422,
        "This Idempotency-Key was used for another request. Make a new one.",
    ),
    "internal_error": (
        500,
        "Something went wrong on our side. Name the request id when you report it.",
    ),
    "unavailable": (503, "The service can't answer at the moment. Try again shortly."),
}
_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": HEADER,
    "description": "Any text of yours, such as a UUID. Within 24 hours the same request under the "
    "same key has no further effect and gets the first answer again, with "
    "`Idempotent-Replayed: true`; another one gets 422 `idempotency_key_reused`, and one that "
    "comes while the first still runs 409 `idempotency_key_in_use`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _add(answers: dict[str, Any], code: str) -> None:
    """Add an example of a problem to the answers of a call."""
    status = str(AROUND_VIEWS[code][0])
    answer = answers.setdefault(status, {"description": _SENTENCES[status]})
    examples = answer.setdefault("content", {}).setdefault(PROBLEM, {}).setdefault("examples", {})
    if code not in [example.get("value", {}).get("code") for example in examples.values()]:
        examples[code] = {"$ref": f"#/components/examples/{code}"}


class OperationSchema(AutoSchema):
    """drf-spectacular's description of a view, and what the house does around every view."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Describe one call."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if self._is_idempotent():
            operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
        described = {status for status in operation["responses"] if status in _SENTENCES}
        for code in self._codes("requestBody" in operation, described):
            _add(operation["responses"], code)
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def _codes(self, has_body: bool, described: set[str]) -> Iterator[str]:
        """Yield what may be answered around the view, beside what the view itself describes."""
        yield from ("not_acceptable", "unavailable")
        if has_body or self._is_idempotent():  # a key belongs to a body
            yield from ("invalid", "malformed_json", "body_too_large", "unsupported_media_type")
        if self._is_list_view():
            yield "invalid_cursor"
        if self._is_idempotent():
            yield "invalid_idempotency_key"
            yield from ("idempotency_key_in_use", "idempotency_key_reused")
        if self._authenticates():
            yield from self._codes_of_authentication()
        if self._may_be_forbidden():
            yield "permission_denied"
        if "{" in self.path and "404" not in described:
            yield "not_found"

    def _codes_of_authentication(self) -> Iterator[str]:
        if {type(each) for each in self.view.get_permissions()} - {AllowAny}:
            yield "not_authenticated"
        yield from ("invalid_token", "mfa_required")

    def _is_idempotent(self) -> bool:
        """Tell whether the view takes an Idempotency-Key."""
        members = [getattr(self.view, name) for name in vars(type(self.view))]
        return self.method == "POST" and any(hasattr(each, "is_idempotent") for each in members)

    def _authenticates(self) -> bool:
        """Tell whether the view looks at who calls."""
        looks = type(self.view).perform_authentication is APIView.perform_authentication
        return looks and bool(self.view.get_authenticators())

    def _may_be_forbidden(self) -> bool:
        """Tell whether being logged in is not enough, or is not shown by a token alone."""
        if {type(each) for each in self.view.get_permissions()} - {AllowAny, IsAuthenticated}:
            return True
        sessions = (isinstance(a, SessionAuthentication) for a in self.view.get_authenticators())
        return self.method not in SAFE_METHODS and self._authenticates() and any(sessions)
