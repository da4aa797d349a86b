"""The registration, four ways. WAY, of the environment, says which."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone

from benchmarks.signup_four_ways.calls import CallFailed, give
from benchmarks.signup_four_ways.events import Newcomer, newcomer


def _inline(user: Any) -> None:
    give("COUPONS", str(user.pk))
    give("POINTS", str(user.pk))


def _promotion(user: Any) -> None:
    give("PROMOTION", str(user.pk))


def _threads(user: Any) -> None:
    def both() -> None:
        for service in ("COUPONS", "POINTS"):
            with suppress(CallFailed):  # there is nobody to tell
                give(service, str(user.pk))

    start = threading.Thread(target=both, daemon=True).start
    transaction.on_commit(start)


def _events(user: Any) -> None:
    newcomer.publish(Newcomer(user_id=user.pk))


WAYS: dict[str, Callable[[Any], None]] = {
    "inline": _inline,
    "promotion": _promotion,
    "threads": _threads,
    "events": _events,
}


def sign_up(request: HttpRequest) -> HttpResponse:
    """Register the person whose address is the body."""
    address = request.body.decode()
    password = make_password("correct-horse-7")
    try:
        with transaction.atomic():
            user: Any = get_user_model()(
                email=address,
                email_canonical=address,
                password=password,
                registered_at=timezone.now(),
            )
            user.save(force_insert=True)
            WAYS[os.environ["WAY"]](user)
    except CallFailed as error:
        return JsonResponse({"error": str(error)}, status=502)
    return JsonResponse({"id": str(user.pk)}, status=201)


def live(request: HttpRequest) -> HttpResponse:
    """Say that the server serves."""
    return HttpResponse()


urlpatterns = [path("sign-up", sign_up), path("livez", live)]
