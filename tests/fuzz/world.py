"""What the fuzzed server knows: the demo, who calls it, and what the examples stand for."""

import json
import sys
from typing import Any

import django

django.setup()

from django.contrib.auth.models import Permission  # noqa: E402
from django.core.management import call_command  # noqa: E402

from accounts import services as accounts  # noqa: E402
from accounts.models import User  # noqa: E402
from coupons import redeeming  # noqa: E402
from coupons.models import Coupon  # noqa: E402
from events.models import Delivery, Event  # noqa: E402
from points import spending  # noqa: E402
from project import checkouts, demo  # noqa: E402
from project.api import examples  # noqa: E402
from relay import services as relay  # noqa: E402
from tests.fuzz import callers  # noqa: E402

SERVICE_PERMISSIONS = ("coupons.redeem_coupon", "points.spend_points", "accounts.view_user")


def main() -> None:
    """Migrate, make everything, and print it as JSON."""
    call_command("migrate", verbosity=0)
    demo.seed(staff_password=callers.PASSWORD)
    owner = _set_password(User.objects.get(email="mei@usher.test"))
    service = _create_service()
    staff = User.objects.get(email=demo.STAFF_EMAIL)
    people = {"owner": owner, "service": service, "staff": staff}
    document = {
        "callers": {
            name: {"email": user.email, "token": accounts.issue_token(user=user)[0]}
            for name, user in people.items()
        },
        "stands_for": _make_what_examples_name(owner, service),
        # What the fuzzer can't guess, by the names of the fields.
        "names": {"user": str(owner.pk), "event_types": ["accounts.user_registered"]},
    }
    json.dump(document, sys.stdout)


def _set_password(user: User) -> User:
    accounts.set_password(user=user, password=callers.PASSWORD)
    return user


def _create_service() -> User:
    service = accounts.register(email="shop@usher.test", password=callers.PASSWORD).user
    for name in SERVICE_PERMISSIONS:
        label, codename = name.split(".")
        permission = Permission.objects.get(content_type__app_label=label, codename=codename)
        service.user_permissions.add(permission)
    return User.objects.get(pk=service.pk)  # without the permissions it remembered


def _make_what_examples_name(owner: User, service: User) -> dict[str, str]:
    """Return the ids of things that exist, by the ids in the schema's examples."""
    used, free = Coupon.objects.filter(user=owner).order_by("pk")[:2]
    redemption = redeeming.redeem(code=used.code, order_ref="A-1", order_amount=4990, by=owner)
    entry = spending.spend(user_id=owner.pk, amount=10, order_ref="A-1", actor_id=service.pk)
    endpoint = relay.create_endpoint(**examples.ENDPOINT_SETTINGS).endpoint
    return {
        examples.PERSON: str(owner.pk),
        examples.COUPON: free.code,
        examples.REDEMPTION: str(redemption.pk),
        examples.ENTRY: str(entry.pk),
        examples.ENDPOINT: str(endpoint.pk),
        examples.CHECKOUT: str(_start_checkout(service).pk),
        examples.EVENT: str(Event.objects.earliest("pk").event_id),
        examples.DELIVERY: str(Delivery.objects.get(state="dead").pk),
    }


def _start_checkout(service: User) -> Any:
    coupon = Coupon.objects.filter(user__email="jonas@usher.test").order_by("pk")[0]
    terms = checkouts.Terms(code=coupon.code, order_ref="A-2", order_amount=4990, points=10)
    return checkouts.start(terms=terms, by=service)


if __name__ == "__main__":
    main()
