"""Messages that come in, signed as https://www.standardwebhooks.com/ has it."""

from collections.abc import Sequence

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from relay.risk import MESSAGE_ID_LENGTH

_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class BadSignature(APIException):
    """401: nobody we know has signed this message just now."""

    status_code = status.HTTP_401_UNAUTHORIZED
    default_code = "bad_signature"
    default_detail = _(
        "The message is not signed by a known secret, or its timestamp is more than five minutes "
        "off. Sign webhook-id, webhook-timestamp and the body as Standard Webhooks has it."
    )


def require_signature(request: HttpRequest, secrets: Sequence[str]) -> str:
    """Return the id of a message that one of the secrets has signed. Raises BadSignature."""
    headers = {name: request.headers.get(name, "") for name in _HEADERS}
    message_id = headers["webhook-id"]
    if len(message_id) > MESSAGE_ID_LENGTH or not message_id.isprintable():
        raise BadSignature
    if not any(_has_signed(secret, request.body, headers) for secret in secrets):
        raise BadSignature
    return message_id


def _has_signed(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: what is no base64, or no UTF-8
        return False
    return True
