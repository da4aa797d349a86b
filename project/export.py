"""What the project keeps of a person, to be given to them: their checkouts and mails."""

from typing import Any
from uuid import UUID

from accounts.queries import exporter
from project.models import Checkout, Mail


@exporter("checkouts")
def export(user_id: UUID) -> list[dict[str, Any]]:
    """Return the orders that were to be paid with a coupon and points, the oldest first."""
    return [
        {
            "order_ref": checkout.order_ref,
            "state": checkout.state,
            "reason": checkout.reason_or_none,
            "points": checkout.points,
            "created_at": checkout.created_at,
        }
        for checkout in Checkout.objects.filter(user=user_id).order_by("pk")
    ]


@exporter("mails")
def export_mails(user_id: UUID) -> list[dict[str, Any]]:
    """Return which mails were sent, or were not, the oldest first. Their text is not kept."""
    rows = Mail.objects.filter(user=user_id).order_by("pk")
    return [dict(row) for row in rows.values("kind", "outcome", "reason", "created_at")]
