"""Which errors each call of the API can answer: derived from its view, so none is forgotten."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, AllowAny, IsAuthenticated

from api.idempotency import HEADER

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
_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": HEADER,
    "description": "Any text of yours, such as a UUID. Within 24 hours the same request under the "
    "same key has no further effect and gets the first answer again, with "
    "`Idempotent-Replayed: true`; another one gets 422 `idempotency_key_reused`, and one that "
    "comes while the first still runs 409 `idempotency_key_in_use`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


class OperationSchema(AutoSchema):
    """drf-spectacular's description of a view, and what the house does around every view."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Describe one call."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if self._is_idempotent():
            operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
        for status in self._statuses("requestBody" in operation):
            operation["responses"].setdefault(status, {"description": _SENTENCES[status]})
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def _statuses(self, has_body: bool) -> Iterator[str]:
        """Yield what may be answered around the view, beside what the view itself describes."""
        yield from ("406", "503")
        reads_body = has_body or self._is_idempotent()  # a key belongs to a body
        if reads_body or self._is_list_view():
            yield "400"
        if reads_body:
            yield from ("413", "415")
        if self._is_idempotent():
            yield from ("409", "422")
        if self.view.get_authenticators():
            yield "401"
        if self._may_be_forbidden():
            yield "403"
        if "{" in self.path:
            yield "404"

    def _is_idempotent(self) -> bool:
        """Tell whether the view takes an Idempotency-Key."""
        members = [getattr(self.view, name) for name in vars(type(self.view))]
        return self.method == "POST" and any(hasattr(each, "is_idempotent") for each in members)

    def _may_be_forbidden(self) -> bool:
        """Tell whether being logged in is not enough, or is not shown by a token alone."""
        if {type(each) for each in self.view.get_permissions()} - {AllowAny, IsAuthenticated}:
            return True
        sessions = (isinstance(a, SessionAuthentication) for a in self.view.get_authenticators())
        return self.method not in SAFE_METHODS and any(sessions)
