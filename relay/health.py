"""How an endpoint is doing: when it is left alone for a while, and when it is disabled."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from relay.endpoints import DisabledReason, Endpoint, EndpointState
from relay.signals import EndpointDisabled, endpoint_disabled
from relay.transport import Failed, Result

FAILING_FOR = timedelta(days=5)
FIRST_REST_S = 5.0
LONGEST_REST_S = 300.0


def note(endpoint: Endpoint, results: Sequence[Result]) -> None:
    """Note how the messages of one call went."""
    failures = [result for result in results if result is not None]
    if len(failures) < len(results):
        _note_success(endpoint)
    if failures:
        _note_failure(endpoint, failures[-1], none_arrived=len(failures) == len(results))


def disable(endpoint: Endpoint, reason: DisabledReason) -> bool:
    """Disable an endpoint because of how it answered, and have its owner told, once.

    Return whether this call did it.
    """
    with transaction.atomic():
        enabled = Endpoint.objects.filter(pk=endpoint.pk, state=EndpointState.ENABLED)
        disabled = enabled.update(
            state=EndpointState.DISABLED, disabled_reason=reason, updated_at=Now()
        )
        if disabled:
            endpoint_disabled.publish(EndpointDisabled(endpoint_id=endpoint.pk, reason=reason))
    return bool(disabled)


def _note_success(endpoint: Endpoint) -> None:
    if endpoint.failures or endpoint.rests_until:  # else there is nothing to write
        Endpoint.objects.filter(pk=endpoint.pk).update(
            failures=0, failing_since=None, rests_until=None
        )


def _note_failure(endpoint: Endpoint, failure: Failed, *, none_arrived: bool) -> None:
    if none_arrived:
        Endpoint.objects.filter(pk=endpoint.pk).update(
            failures=F("failures") + 1,
            failing_since=Coalesce(F("failing_since"), Value(timezone.now())),
        )
    rest_s = _rest_s(endpoint, failure)
    if rest_s:
        Endpoint.objects.filter(pk=endpoint.pk).update(
            rests_until=timezone.now() + timedelta(seconds=rest_s)
        )
    if failure.is_gone:
        disable(endpoint, DisabledReason.GONE)
    elif endpoint.failing_since and timezone.now() - endpoint.failing_since >= FAILING_FOR:
        disable(endpoint, DisabledReason.FAILING)


def _rest_s(endpoint: Endpoint, failure: Failed) -> float:
    """Return for how long to leave an endpoint alone: what it asked for, or ever longer."""
    if failure.retry_after_s is not None:
        return failure.retry_after_s
    if failure.is_unreachable:
        return min(FIRST_REST_S * 2.0 ** min(endpoint.failures, 10), LONGEST_REST_S)
    return 0
