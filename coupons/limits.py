"""How many coupon codes somebody may try: per account and per address, counted by allauth."""

from allauth.core.internal import ratelimit
from django.conf import settings
from rest_framework.exceptions import Throttled
from rest_framework.request import Request

MINUTE = 60
LOOKUPS = {"code_lookup": "30/m/user,60/m/ip"}


def require_lookups_within_limit(request: Request) -> None:
    """Count one try. Raises Throttled (429); after a minute at most there is room again."""
    if settings.RATE_LIMITS == "off":
        return
    allowed = ratelimit.consume(
        request._request, app="coupons", action="code_lookup", config=LOOKUPS, user=request.user
    )
    if allowed is None:
        raise Throttled(wait=MINUTE)
