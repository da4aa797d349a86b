"""How every way calls a service: a POST that may take five seconds."""

import http.client
import json
import os

TIMEOUT_S = 5.0


class CallFailed(Exception):
    """A service did not answer, or not well."""


def give(service: str, user_id: str, key: str = "") -> None:
    """Ask a service ("COUPONS", "POINTS", "PROMOTION") to give a newcomer what it gives."""
    port = int(os.environ[f"{service}_PORT"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
    try:
        connection.request("POST", "/give", json.dumps({"user": user_id}), headers)
        status = connection.getresponse().status
    except OSError as error:
        raise CallFailed(f"{service} did not answer: {error}") from error
    finally:
        connection.close()
    if status != 200:
        raise CallFailed(f"{service} answered {status}")
