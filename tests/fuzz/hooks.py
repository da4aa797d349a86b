"""What Schemathesis does around each request of ours. Loaded by the name in schemathesis.toml.

Nothing here hides an answer: the hooks make requests reach further, and make the schema stricter.
"""

import atexit
import json
import os
import urllib.request
import zlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import schemathesis
from standardwebhooks.webhooks import Webhook

from tests.fuzz import callers

_WORLD = json.loads(Path(os.environ[callers.WORLD]).read_text())
_CALLER = _WORLD["callers"][os.environ[callers.CALLER]]
_SIGNATURE = ("webhook-id", "webhook-timestamp", "webhook-signature")
_answers: Counter[str] = Counter()


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Accept no answer but those that an operation names, and let examples name what exists."""
    for item in raw_schema["paths"].values():
        for operation in item.values():
            operation["responses"].pop("default", None)
    text = json.dumps(raw_schema)
    for example, real in _WORLD["stands_for"].items():
        text = text.replace(example, real)
    raw_schema.update(json.loads(text))


@schemathesis.auth()
class Token:
    """The caller's token; a throw-away one where the call ends the token or the account."""

    def get(self, case: Any, context: Any) -> str:
        """Return the caller's token."""
        token: str = _CALLER["token"]
        return token

    def set(self, case: Any, data: str, context: Any) -> None:
        """Send a token along."""
        case.headers["Authorization"] = f"Token {self._token_for(case, data)}"

    def _token_for(self, case: Any, usual: str) -> str:
        operation = _name_of(case)
        if operation == "delete_token":
            return _log_in(_CALLER["email"])
        if operation == "close_account" and case.body == {"password": callers.PASSWORD}:
            return _log_in(_sign_up())
        return usual


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Name what exists in every other request, and sign what has the headers for it."""
    if zlib.crc32(case.id.encode()) % 2 and case.meta.generation.mode.is_positive:
        _name_what_exists(case)
    if _name_of(case) == "receive_risk_decision" and case.headers.keys() >= set(_SIGNATURE):
        case.headers.update(_signed(case))


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Count the answers."""
    _answers[f"{_name_of(case)} {response.status_code}"] += 1


def _name_what_exists(case: Any) -> None:
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = uuid4().hex
    if isinstance(case.body, dict):
        names = {**_WORLD["names"], **_credentials(case)}
        known = {name: names[name] for name in names.keys() & case.body.keys()}
        case.body = {**case.body, **known}


def _credentials(case: Any) -> dict[str, str]:
    if _name_of(case) == "register":
        return {"email": f"{uuid4().hex}@example.com", "password": callers.PASSWORD}
    if _name_of(case) == "create_token":
        return {"email": _CALLER["email"], "password": callers.PASSWORD}
    return {}


def _write_answers() -> None:
    Path(os.environ[callers.ANSWERS]).write_text(json.dumps(_answers, sort_keys=True))


def _signed(case: Any) -> dict[str, str]:
    sent = case.as_transport_kwargs()
    body = json.dumps(sent["json"]) if "json" in sent else sent.get("data") or ""
    # What is no UTF-8 is refused before its signature is looked at.
    text = body if isinstance(body, str) else bytes(body).decode(errors="replace")
    message_id, now = f"msg_{uuid4().hex}", datetime.now(UTC)
    signature = Webhook(callers.RISK_SECRET).sign(message_id, now, text)
    return dict(zip(_SIGNATURE, (message_id, str(int(now.timestamp())), signature), strict=True))


def _name_of(case: Any) -> str:
    name: str = case.operation.definition.raw["operationId"]
    return name


def _sign_up() -> str:
    """Register a person nobody else needs; return the address."""
    email = f"{uuid4().hex}@example.com"
    _post("registrations/", email)
    return email


def _log_in(email: str) -> str:
    token: str = _post("tokens/", email)["token"]
    return token


def _post(path: str, email: str) -> Any:
    url = f"{_WORLD['address']}/api/v1/{path}"
    body = json.dumps({"email": email, "password": callers.PASSWORD}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


atexit.register(_write_answers)
