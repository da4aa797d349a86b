"""An example of everything the API takes and gives, by the name of its component."""

from typing import Any

_METHODS = {"get", "post", "put", "patch", "delete"}
_PAGE = "Paginated"

PERSON = "019ab5d2-7c1e-7b60-9d0f-0c8f5f6f3f10"
COUPON = "7KQ2M9XW4TBC"
CHECKOUT = "019ab5e0-3b07-7f90-8d2a-c5e41b7096d3"
REDEMPTION = "019ab5e0-1f42-7a3c-8b1d-6f0e2d4c9a77"
ENTRY = "019ab5e0-2a91-7e58-b0c4-93d1f8a6e205"
ENDPOINT = "019ab5f1-90d7-7c25-a3e8-41b7c02f6d18"
EVENT = "019ab5f3-0c64-7d12-9e9b-5a80d3c1b4f6"
DELIVERY = "4815162"
RECEIVER = "coupons.issue_welcome_coupons"
_MOMENT = "2026-11-23T09:30:00Z"
_IDS = {  # by the first word of a path under /api/v1/
    "checkouts": CHECKOUT,
    "coupons": COUPON,
    "deliveries": DELIVERY,
    "endpoints": ENDPOINT,
    "events": EVENT,
    "points": ENTRY,
    "receivers": RECEIVER,
    "redemptions": REDEMPTION,
    "users": PERSON,
}

ENDPOINT_SETTINGS: dict[str, Any] = {
    "name": "CRM",
    "url": "https://crm.example.com/usher",
    "event_types": ["accounts.user_registered"],
    "owner_email": "ops@example.com",
    "max_attempts": 8,
    "schedule_s": [0, 5, 300],
}
_ENDPOINT_STATE: dict[str, Any] = {
    "id": ENDPOINT,
    **ENDPOINT_SETTINGS,
    "state": "enabled",
    "disabled_reason": "",
    "failing_since": None,
    "rests_until": None,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
_TERMS: dict[str, Any] = {
    "version": "2026-11-01",
    "terms_url": "https://usher.example/terms/",
    "privacy_url": "https://usher.example/privacy/",
}
_DEAD: dict[str, Any] = {
    "id": DELIVERY,
    "event": EVENT,
    "type": "accounts.user_registered",
    "version": 1,
    "key": PERSON,
    "receiver": RECEIVER,
    "target": "",
    "queue": "coupons",
    "state": "dead",
    "attempts": 16,
    "due_at": None,
    "last_error": "OSError: The disk is full.",
    "fingerprint": "5d1c3c0f8a9be2d4",
    "finished_at": None,
    "skipped_by": "",
    "skip_reason": "",
}
_RECEIVER: dict[str, Any] = {
    "name": RECEIVER,
    "queue": "coupons",
    "guarantee": "exactly_once",
    "types": ["accounts.user_registered"],
    "paused": False,
    "due": 2,
    "scheduled": 1,
    "running": 1,
    "waiting": 0,
    "dead": 1,
    "oldest_due_age_s": 0.214,
    "rate_per_s": 3.2,
    "p50_s": 0.112,
    "p95_s": 0.354,
}
_SECRET = "whsec_…"  # noqa: S105  the form of one, for readers
_USE = {"id": REDEMPTION, "code": COUPON, "order_ref": "A-1042", "discount": 499}

EXAMPLES: dict[str, Any] = {
    "AgreementRequest": {"version": "2026-11-01"},
    "Checkout": {
        "id": CHECKOUT,
        "order_ref": "A-1042",
        "user": PERSON,
        "points": 60,
        "discount": 499,
        "state": "pending",
        "reason": None,
        "detail": None,
    },
    "CloseRequest": {"password": "a long enough one"},
    "Closed": {"detail": "Your account is closed."},
    "Coupon": {
        "code": COUPON,
        "campaign": "Welcome",
        "state": "usable",
        "benefit": {"type": "percent", "basis_points": 1000, "cap": 3000},
        "min_spend": 2000,
        "valid_from": _MOMENT,
        "valid_until": "2026-12-23T09:30:00Z",
    },
    "CouponValidation": {"valid": True, "discount": 499, "reason": None},
    "CouponValidationRequest": {"order_amount": 4990},
    "Delivery": _DEAD,
    "DeliveryDetail": {
        **_DEAD,
        "failures": [
            {
                "number": 16,
                "started_at": _MOMENT,
                "ended_at": "2026-11-23T09:30:05Z",
                "error_class": "OSError",
                "error_message": "The disk is full.",
                "fingerprint": "5d1c3c0f8a9be2d4",
                "release": "1.4.0",
            }
        ],
    },
    "DeliveryReplayRequest": {"reason": "There is room on the disk again."},
    "DeliverySkipRequest": {"reason": "A test account."},
    "Endpoint": _ENDPOINT_STATE,
    "EndpointAttempt": {
        "event": EVENT,
        "type": "accounts.user_registered",
        "state": "pending",
        "number": 1,
        "started_at": _MOMENT,
        "ended_at": "2026-11-23T09:30:05Z",
        "error": "crm.example answered 500: no room",
        "request": '{"correlationid":"0190d2b4-7c1e-7b7a-9d5b-2f3c1e0a9b11","data":{',
    },
    "EndpointCreated": {**_ENDPOINT_STATE, "secret": _SECRET},
    "EndpointReplayRequest": {"since": "2026-11-23T00:00:00Z", "until": _MOMENT},
    "EndpointReplayed": {"replayed": 12},
    "EndpointRequest": ENDPOINT_SETTINGS,
    "EndpointSecret": {"secret": _SECRET},
    "EndpointTested": {"event": EVENT},
    "Event": {
        "id": EVENT,
        "type": "accounts.user_registered",
        "version": 1,
        "key": PERSON,
        "data": {"user_id": PERSON, "inviter_id": None},
        "occurred_at": _MOMENT,
        "correlation_id": "7f0c3b1e-9a53-4f0e-8a3e-0d8f3c5d2b11",
        "causation_id": None,
    },
    "Me": {
        "id": PERSON,
        "email": "mei@example.com",
        "status": "active",
        "registered_at": _MOMENT,
        "referral_code": "7KQ2M9XW",
        "referral_url": "https://usher.example/i/7KQ2M9XW/",
    },
    "MyTerms": {**_TERMS, "agreed_version": "2026-11-01", "agreed_at": _MOMENT},
    "Name": {"display_name": "Mei"},
    "PatchedEndpointChanges": {"state": "disabled"},
    "Points": {
        "balance": 100,
        "pending": 0,
        "frozen": False,
        "lifetime_earned": 100,
        "next_expiry": None,
    },
    "PointsEntry": {
        "id": ENTRY,
        "kind": "spend",
        "amount": -60,
        "balance_after": 40,
        "occurred_at": _MOMENT,
        "reason": "",
    },
    "PointsSpendRequest": {"user": PERSON, "amount": 60, "order_ref": "A-1042"},
    "ReceiverPause": {
        "name": RECEIVER,
        "paused": True,
        "paused_at": _MOMENT,
        "paused_by": "lin@example.com",
        "pause_reason": "The rule is wrong.",
    },
    "ReceiverPauseRequest": {"reason": "The rule is wrong."},
    "ReceiverResumeRequest": {"reason": "The rule is right again."},
    "Receivers": {"next": None, "previous": None, "results": [_RECEIVER]},
    "Redemption": _USE,
    "Referral": {
        "registered_at": _MOMENT,
        "invitee": "j•••@e•••.com",
        "status": "approved",
        "reward": {"outcome": "granted", "points": 100, "reason": ""},
    },
    "RegistrationPending": {
        "detail": "We have sent an e-mail to this address. Follow the link in it to go on."
    },
    "RiskDecision": {"user": PERSON, "decision": "flag", "reason": "A stolen card."},
    "RiskDecisionReceived": {"id": "msg_2LJzPqQ7"},
    "RolledBackRedemption": {**_USE, "rolled_back_at": _MOMENT},
    "Terms": _TERMS,
    "Token": {"token": "f3a1…", "expires_at": "2026-12-23T09:30:00Z"},
    "User": {
        "id": PERSON,
        "email": "mei@example.com",
        "status": "active",
        "registered_at": _MOMENT,
    },
}


def add_examples(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Put the examples where no view brings its own (one of the POSTPROCESSING_HOOKS)."""
    for path, item in result["paths"].items():
        for method in _METHODS & item.keys():
            _add_ids(path, item[method].get("parameters", []))
            for content in contents_of(item[method]):
                _add_example(content)
    return result


def contents_of(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what describes a call's body and those of its successes, by media type."""
    bodies = [operation.get("requestBody", {})]
    bodies += [each for code, each in operation["responses"].items() if code.startswith("2")]
    return [content for body in bodies for content in body.get("content", {}).values()]


def _add_example(content: dict[str, Any]) -> None:
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    if "examples" in content or "example" in content:
        return
    item = EXAMPLES.get(name.removeprefix(_PAGE).removesuffix("List"))
    if name.startswith(_PAGE) and item is not None:
        content["example"] = {"next": None, "previous": None, "results": [item]}
    elif name in EXAMPLES:
        content["example"] = EXAMPLES[name]


def _add_ids(path: str, parameters: list[dict[str, Any]]) -> None:
    word = path.split("/")[3]
    for parameter in parameters:
        if parameter["in"] == "path" and word in _IDS:
            parameter.setdefault("example", _IDS[word])
