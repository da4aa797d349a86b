"""What a member of staff does to one delivery or one receiver, and leaves on record.

The API and the admin's pages come through here; commands, which act on many, have their own ways.
Each is one short transaction of the caller's or its own, so no drain's turn is waited for in it.
"""

from django.db import transaction

from events.models import Delivery, DeliveryState, ReceiverState
from events.operations import pausing
from events.operations.record import Operator, name_of, put_on_record, with_reason
from events.operations.replay import REPLAYABLE_STATES, put_back
from events.operations.signature import signed
from events.operations.skip import SKIPPABLE_STATES, give_up


class WrongState(Exception):
    """A delivery is in a state in which the intervention makes no sense, or is too late."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(f"The delivery {delivery.pk} is {delivery.state}.")
        self.delivery = delivery


def replay_delivery(delivery_id: int, *, by: Operator, reason: str = "") -> Delivery:
    """Make a delivery due now, with fresh attempts. Return it as it is then.

    Raises Delivery.DoesNotExist, and WrongState where it runs or waits for an earlier one.
    """
    with transaction.atomic():
        delivery = _locked(delivery_id)
        if delivery.state not in REPLAYABLE_STATES:
            raise WrongState(delivery)
        put_back([delivery.pk], DeliveryState(delivery.state))
        put_on_record(by, [delivery], with_reason("Replayed", reason.strip()))
    return _reread(delivery)


def skip_delivery(delivery_id: int, *, by: Operator, reason: str) -> Delivery:
    """Give a delivery up for good, and let what waits behind it go. Return it as it is then.

    Raises Delivery.DoesNotExist, WrongState where it runs or is finished, and Unsigned.
    """
    name, reason = signed(by=name_of(by), reason=reason)
    with transaction.atomic():
        delivery = _locked(delivery_id)
        if not give_up([delivery.pk], SKIPPABLE_STATES, name, reason):
            raise WrongState(delivery)
        put_on_record(by, [delivery], with_reason("Skipped", reason))
    return _reread(delivery)


def pause_receiver(name: str, *, by: Operator, reason: str) -> ReceiverState:
    """Pause a receiver. The first to pause it is the one on record; return what is noted.

    Raises UnknownReceiver and Unsigned.
    """
    with transaction.atomic():
        changed = pausing.pause(name, by=name_of(by), reason=reason)
        state = ReceiverState.objects.get(pk=name)
        if changed:
            put_on_record(by, [state], with_reason("Paused", reason.strip()))
    return state


def resume_receiver(name: str, *, by: Operator, reason: str = "") -> ReceiverState:
    """Let a receiver run again. Return what is noted of it. Raises UnknownReceiver."""
    with transaction.atomic():
        changed = pausing.resume(name)
        # One that no worker has met so far has no row: it was not paused.
        state = ReceiverState.objects.filter(pk=name).first() or ReceiverState(name=name)
        if changed:
            put_on_record(by, [state], with_reason("Resumed", reason.strip()))
    return state


def _locked(delivery_id: int) -> Delivery:
    return Delivery.objects.select_for_update().get(pk=delivery_id)


def _reread(delivery: Delivery) -> Delivery:
    return Delivery.objects.get(pk=delivery.pk)
