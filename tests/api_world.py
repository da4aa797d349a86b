"""One of everything that the API tells of, and how each call is made on it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from rest_framework.test import APIClient
from standardwebhooks.webhooks import Webhook

from accounts.models import User
from coupons import redeeming
from coupons.models import Coupon, Redemption
from events.models import Delivery
from points.models import Entry
from points.spending import spend
from project.models import Checkout
from relay.endpoints import Endpoint
from relay.sealing import seal
from tests.api_calls import Call
from tests.coupons.factories import make_campaign, make_coupon
from tests.points.factories import credit
from tests.registrations import make_person

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PASSWORD = "correct-horse-7"
_OURS = {"accounts", "account", "coupons", "points", "relay", "events", "project", "knox"}


@dataclass(frozen=True, slots=True)
class World:
    """A person with one of everything, an endpoint and a delivery."""

    owner: User
    coupon: Coupon
    redemption: Redemption
    spending: Entry
    checkout: Checkout
    endpoint: Endpoint
    delivery: Delivery  # that is still to be run

    def place(self, call: Call) -> object:
        """Return what stands in a call's address."""
        if not call.has_place:
            return ""
        places = {
            "users": self.owner.pk,
            "coupons": self.coupon.code,
            "redemptions": self.redemption.pk,
            "points": self.spending.pk,
            "checkouts": self.checkout.pk,
            "endpoints": self.endpoint.pk,
            "events": self.delivery.event_id,
            "deliveries": self.delivery.pk,
            "receivers": self.delivery.receiver,
        }
        return places[call.path().split("/")[3]]

    def body(self, call: Call) -> dict[str, Any]:
        """Return what a call takes; nothing for one that takes nothing."""
        order = {"order_ref": "B-1", "order_amount": 4990}
        account = {"email": "tom@example.org", "password": PASSWORD}
        endpoint = {"name": "New", "url": "https://new.example/", "owner_email": "o@example.com"}
        user = str(self.owner.pk)
        bodies: dict[str, dict[str, Any]] = {
            "post api-registrations": account,
            "post api-tokens": account | {"email": self.owner.email},
            "post api-my-terms": {"version": settings.TERMS_VERSION},
            "put api-name": {"display_name": "Mei"},
            "post api-close": {"password": PASSWORD},
            "post api-coupon-validate": {"order_amount": 4990},
            "post api-coupon-redeem": order,
            "post api-points-spend": {"user": user, "amount": 5, "order_ref": "B-1"},
            "post api-checkouts": order | {"code": self.coupon.code, "points": 5},
            "post api-risk-decisions": {"user": user, "decision": "flag", "reason": "proxy"},
            "post api-endpoints": endpoint | {"event_types": ["accounts.user_registered"]},
            "patch api-endpoint": {"name": "Other"},
            "post api-endpoint-replay": {"since": "2026-01-01T00:00:00Z"},
            "post api-delivery-skip": {"reason": "a test"},
            "post api-receiver-pause": {"reason": "a test"},
        }
        return bodies.get(str(call), {})

    def root(self) -> User:
        """Return the person with every permission: nothing but the request is refused then."""
        User.objects.filter(pk=self.owner.pk).update(is_superuser=True)
        return User.objects.get(pk=self.owner.pk)


def make_world() -> World:
    """Return one of everything."""
    owner = make_person()
    owner.set_password(PASSWORD)
    owner.save()
    coupon, used, paid = (make_coupon(make_campaign(), owner) for _ in range(3))
    for each in (used, paid):
        redeeming.redeem(code=each.code, order_ref=each.code, order_amount=4990, by=owner)
    redemption, paid_with = Redemption.objects.order_by("pk")
    credit(owner, 100)
    spending = spend(user_id=owner.pk, amount=10, order_ref="A-1", actor_id=owner.pk)
    checkout = Checkout.objects.create(
        order_ref="A-1", user=owner, redemption=paid_with, points=10, requested_by=owner
    )
    endpoint = Endpoint.objects.create(
        name="CRM",
        url="https://crm.example/",
        event_types=["accounts.user_registered"],
        owner_email="o@example.com",
        sealed_secret=seal("x"),
    )
    delivery = Delivery.objects.filter(state="pending").earliest("pk")
    return World(owner, coupon, redemption, spending, checkout, endpoint, delivery)


def make_call(
    call: Call,
    place: object,
    body: bytes | dict[str, Any] = b"",
    *,
    by: User | None = None,
    query: str = "",
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Any:
    """Make a call, signed as messages to Usher are (the others do not look at that)."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    client: Any = APIClient()  # typed as if bodies were text
    client.force_authenticate(by)
    return client.generic(
        call.method.upper(),
        call.path(place) + query,
        content,
        content_type=content_type,
        headers=_signature(content) | (headers or {}),
    )


def everything() -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table that is ours."""
    models = [each for each in apps.get_models() if each._meta.app_label in _OURS]
    return {each._meta.label: list(each._base_manager.order_by("pk").values()) for each in models}


def _signature(content: bytes) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, content.decode(errors="replace")),
    }
