"""Signatures of what leaves: https://www.standardwebhooks.com/, one per secret."""

from collections.abc import Sequence
from datetime import datetime

from standardwebhooks.webhooks import Webhook

from relay.transport import Message


def signed_headers(message: Message, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """Return the headers that prove a message to come from us."""
    signatures = [Webhook(s).sign(message.id, at, message.body.decode()) for s in secrets]
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
