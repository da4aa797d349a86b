"""Rate limits: one bucket for the page and the API, counted in the shared cache by allauth."""

import math
import time

from allauth.account import app_settings
from allauth.core.internal import ratelimit
from django.core.cache import cache
from django.http import HttpRequest

INVITATION = "invitation"
_APP = "allauth.account"


def consume(request: HttpRequest, action: str, *, count_get: bool = False) -> bool:
    """Count one request against the limit of `action`. False where it is exceeded.

    Requests that only read are not counted, unless `count_get` says so.
    """
    usage = ratelimit.consume(request, app=_APP, action=action, limit_get=count_get)
    return usage is not None


def consume_mail(request: HttpRequest, email: str) -> bool:
    """Count one verification mail to `email`. False where one was sent a short while ago."""
    return (
        ratelimit.consume(request, app=_APP, action="confirm_email", key=email, limit_get=True)
        is not None
    )


def may_look_up_code(request: HttpRequest) -> bool:
    """Tell whether this client named few enough referral codes of nobody. Writes nothing."""
    rates = ratelimit.get_rates(app=_APP, action=INVITATION)
    return not any(_wait(request, INVITATION, rate, None) > 0 for rate in rates)


def count_code_of_nobody(request: HttpRequest) -> None:
    """Count a look-up that found nobody: invite links are passed on, not guessed."""
    ratelimit.consume(request, app=_APP, action=INVITATION, limit_get=True)


def consume_code(request: HttpRequest, user_id: str) -> ratelimit.RateLimitUsage | None:
    """Count one code of an account's second factor. None where there were too many wrong ones.

    `rollback()` of what is returned takes it out of the count again: right ones do not count.
    """
    return ratelimit.consume(request, app=_APP, action="login_failed", key=_code_key(user_id))


def seconds_to_wait_for_code(request: HttpRequest, user_id: str) -> int:
    """Return after how many seconds another code of this account is looked at; at least 1."""
    return seconds_to_wait(request, "login_failed", _code_key(user_id))


def client_of(request: HttpRequest) -> str:
    """Return the network address that limits count by: of IPv6, the part that names a customer."""
    return str(ratelimit.get_ip(request))


def seconds_to_wait(request: HttpRequest, action: str, key: str | None = None) -> int:
    """Return after how many seconds `action` is allowed again; at least 1."""
    rates = ratelimit.get_rates(app=_APP, action=action)
    countable = [rate for rate in rates if rate.per == "ip" or (rate.per == "key" and key)]
    return max([1, *(_wait(request, action, rate, key) for rate in countable)])


def longest_wait(request: HttpRequest) -> int:
    """Return after how many seconds this page request is allowed again; at least 1.

    Which limit refused it is not told, so every one that it counts under is looked at; that of
    invitations refuses no page.
    """
    key = request.POST.get("email", "").strip().lower() or None
    actions = app_settings.RATE_LIMITS.keys() - {INVITATION}
    return max([1, *(seconds_to_wait(request, action, key) for action in actions)])


def _code_key(user_id: str) -> str:
    return f"mfa-auth-user-{user_id}"  # as allauth counts passkeys of the account


def _wait(request: HttpRequest, action: str, rate: ratelimit.Rate, key: str | None) -> int:
    cache_key = ratelimit.get_cache_key(request, app=_APP, action=action, rate=rate, key=key)
    history: list[float] = cache.get(cache_key, [])  # newest first
    if len(history) < rate.amount:
        return 0
    free_at: float = history[rate.amount - 1] + rate.duration
    return math.ceil(free_at - time.time())
