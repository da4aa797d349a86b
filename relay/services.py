"""What can happen to an endpoint. Admin and API come through here."""

import base64
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from events import outbox
from events import queue as doorbell
from events.delivery.completion import add_missing_deliveries
from events.models import Attempt, Delivery, DeliveryState, Event
from events.operations.chunks import CHUNK_SIZE, in_short_transaction
from events.operations.replay import replay_chosen
from events.operations.skip import skip_chosen
from events.receivers import Receiver, get_receiver
from relay.endpoints import DisabledReason, Endpoint, EndpointState
from relay.sealing import seal
from relay.signals import TestRequested, test_requested
from relay.validation import Location, clean_event_types, clean_location, clean_schedule

SEND_RECEIVER = "relay.send"
SECRET_BYTES = 32
FORMER_SECRET_VALID = timedelta(hours=24)

CLEANERS: dict[str, Callable[[Any], Any]] = {
    "url": clean_location,
    "event_types": clean_event_types,
    "schedule_s": clean_schedule,
}
_FREE = ("name", "owner_email", "max_attempts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new endpoint with its signing secret, which is shown this once."""

    endpoint: Endpoint
    secret: str


def create_endpoint(
    *, name: str, url: str, event_types: Sequence[str], owner_email: str, **options: Any
) -> Created:
    """Create an enabled endpoint. `options` are `max_attempts` and `schedule_s`.

    Raises ValidationError with a dict of errors per field.
    """
    secret = _new_secret()
    endpoint = Endpoint(sealed_secret=seal(secret))
    given = {"name": name, "url": url, "event_types": event_types, "owner_email": owner_email}
    _set(endpoint, {**given, **options})
    _save(endpoint)
    return Created(endpoint=endpoint, secret=secret)


def change_endpoint(*, endpoint_id: UUID, **changes: Any) -> Endpoint:
    """Change some of an endpoint's settings. A new URL brings its password along, or has none.

    The URL it has, without a password, keeps the one there is.

    Raises Endpoint.DoesNotExist, and ValidationError with a dict of errors per field.
    """
    with transaction.atomic():
        endpoint = _lock(endpoint_id)
        _set(endpoint, changes)
        _save(endpoint)
    return endpoint


def rotate_secret(*, endpoint_id: UUID) -> str:
    """Give an endpoint a new secret, and return it. The former one signs too for another day.

    Raises Endpoint.DoesNotExist.
    """
    secret = _new_secret()
    with transaction.atomic():
        endpoint = _lock(endpoint_id)
        endpoint.sealed_former_secret = endpoint.sealed_secret
        endpoint.former_secret_until = timezone.now() + FORMER_SECRET_VALID
        endpoint.sealed_secret = seal(secret)
        endpoint.save()
    return secret


def enable_endpoint(*, endpoint_id: UUID) -> bool:
    """Send events again; those that waited are due at once. Return whether it was disabled."""
    with transaction.atomic():
        disabled = Endpoint.objects.filter(pk=endpoint_id, state=EndpointState.DISABLED)
        changed = disabled.update(
            state=EndpointState.ENABLED,
            disabled_reason="",
            failures=0,
            failing_since=None,
            rests_until=None,
            updated_at=Now(),
        )
        if changed:
            _deliveries(endpoint_id).filter(state=DeliveryState.PENDING).update(due_at=Now())
            _ring_on_commit()
    return bool(changed)


def disable_endpoint(*, endpoint_id: UUID) -> bool:
    """Send no more events, because staff say so. What is owed waits. Return whether it was
    enabled.
    """
    enabled = Endpoint.objects.filter(pk=endpoint_id, state=EndpointState.ENABLED)
    return bool(
        enabled.update(
            state=EndpointState.DISABLED,
            disabled_reason=DisabledReason.BY_STAFF,
            updated_at=Now(),
        )
    )


def delete_endpoint(*, endpoint_id: UUID, by: str) -> None:
    """Delete an endpoint. What it was still owed is skipped, by the named operator."""
    Endpoint.objects.filter(pk=endpoint_id).delete()  # first: nothing more is addressed to it
    open_ = _deliveries(endpoint_id).filter(finished_at__isnull=True)
    skip_chosen(open_, by=by, reason="The endpoint was deleted.")


def test_endpoint(*, endpoint_id: UUID) -> UUID:
    """Send a test event, also to a disabled endpoint. Return the event's id.

    Raises Endpoint.DoesNotExist.
    """
    with transaction.atomic():
        endpoint = Endpoint.objects.get(pk=endpoint_id)
        event = test_requested.publish(TestRequested(endpoint_id=endpoint.pk))
        outbox.deliver_to(_send_receiver(), [(event, str(endpoint.pk))])
    return event.id


test_endpoint.__test__ = False  # type: ignore[attr-defined]  # pytest: this is no test


def replay_endpoint(*, endpoint_id: UUID, since: datetime, until: datetime | None = None) -> int:
    """Send an endpoint everything from `since` (before `until`) that it asked for, once more.

    What was never addressed to it (it was not there, or disabled) included; out of order. In
    chunks that commit. Return how many events. Raises Endpoint.DoesNotExist.
    """
    endpoint = Endpoint.objects.get(pk=endpoint_id)
    span = Q(occurred_at__gte=since, occurred_at__lt=until or timezone.now())
    wanted = Event.objects.filter(span, type__in=endpoint.event_types)
    added = _add_missing(endpoint, wanted)
    again = _deliveries(endpoint_id).filter(event__in=wanted).exclude(pk__in=added)
    return len(added) + replay_chosen(again)


def attempts_of(endpoint: Endpoint) -> QuerySet[Attempt]:
    """Return the failed attempts to send an endpoint something, with deliveries and events."""
    failed = Attempt.objects.filter(
        delivery__receiver=SEND_RECEIVER, delivery__target=str(endpoint.pk)
    )
    return failed.select_related("delivery__event")


def _add_missing(endpoint: Endpoint, wanted: QuerySet[Event]) -> list[int]:
    """Add the deliveries that an endpoint never had. Return their ids."""
    before = _deliveries(endpoint.pk).order_by("-pk").values_list("pk", flat=True).first() or 0
    add: Callable[[], int] = partial(
        add_missing_deliveries,
        _send_receiver(),
        wanted,
        limit=CHUNK_SIZE,
        target=str(endpoint.pk),
    )
    while in_short_transaction(add) == CHUNK_SIZE:
        pass
    doorbell.ring(_send_receiver().queue)
    added = _deliveries(endpoint.pk).filter(pk__gt=before, position__isnull=True)
    return list(added.values_list("pk", flat=True))


def _set(endpoint: Endpoint, values: dict[str, Any]) -> None:
    """Take over values. Raises ValidationError with a dict of errors per field."""
    errors: dict[str, ValidationError] = {}
    for name, value in values.items():
        try:
            _set_one(endpoint, name, value)
        except ValidationError as error:
            errors[name] = error
    if errors:
        raise ValidationError(errors)


def _set_one(endpoint: Endpoint, name: str, value: Any) -> None:
    if name == "url":
        _set_location(endpoint, clean_location(value))
    elif name in CLEANERS:
        setattr(endpoint, name, CLEANERS[name](value))
    elif name in _FREE:
        setattr(endpoint, name, value)
    else:
        raise TypeError(f"An endpoint has no {name!r} to change.")


def _set_location(endpoint: Endpoint, location: Location) -> None:
    """Take over a URL. One that is sent back as it is shown keeps its password."""
    if location.password is not None or location.url != endpoint.url:
        endpoint.sealed_password = seal(location.password) if location.password else ""
    endpoint.url = location.url


def _save(endpoint: Endpoint) -> None:
    """Save. Raises ValidationError also where the name is taken in this instant."""
    endpoint.full_clean()
    try:
        with transaction.atomic():
            endpoint.save()
    except IntegrityError:
        raise ValidationError(
            {"name": ValidationError(_("There is an endpoint of this name."), code="unique")}
        ) from None


def _lock(endpoint_id: UUID) -> Endpoint:
    return Endpoint.objects.select_for_update().get(pk=endpoint_id)


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _deliveries(endpoint_id: UUID) -> QuerySet[Delivery]:
    return Delivery.objects.filter(receiver=SEND_RECEIVER, target=str(endpoint_id))


def _send_receiver() -> Receiver:
    return get_receiver(SEND_RECEIVER)


def _ring_on_commit() -> None:
    transaction.on_commit(partial(doorbell.ring, _send_receiver().queue), robust=True)
