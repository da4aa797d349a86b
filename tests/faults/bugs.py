"""Bugs to test the tests with: each a small change of the product, and who must notice it.

`SEEDED_BUG=no-inbox-row manage.py worker` switches one on in a real process.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import uuid4

from django.db import transaction
from django.db.models import BigIntegerField, F, Value
from django.db.models.functions import Now

from accounts import services as accounts
from accounts.signals import UserRegistered, user_registered
from coupons.models import Campaign
from events import context, outbox
from events.delivery import claim, effects, leases, settle
from events.models import Delivery, DeliveryState
from events.receivers import Receiver, all_receivers
from events.rows import insert
from points import granting

VARIABLE = "SEEDED_BUG"

_for_good = ExitStack()


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake somebody might make in the product."""

    name: str
    patches: dict[str, Any] = field(repr=False)  # dotted names, and what stands there instead
    scenario: str  # of `scenarios`, with its argument after a colon
    caught_by: str  # a pattern: the beginning of what it must find

    def __str__(self) -> str:
        return self.name


@contextmanager
def switched_on(bug: Bug) -> Iterator[None]:
    """Run a block in a product with the bug."""
    with ExitStack() as stack:
        stack.callback(claim._due_in_order.cache_clear)  # what was put together with the bug
        for name, replacement in bug.patches.items():
            stack.enter_context(mock.patch(name, replacement))
        claim._due_in_order.cache_clear()  # … and without
        yield


def install() -> None:
    """Switch on the bug that the environment names, for good. Raises KeyError where none is."""
    if name := os.environ.get(VARIABLE):
        _for_good.enter_context(switched_on(BUGS[name]))


def _nothing(*args: object, **kwargs: object) -> int:
    return 0


def _never(*args: object) -> bool:
    return False


def _always(*args: object) -> bool:
    return True


class _NoSuchError(Exception):
    """Stands where an error was told apart from the others."""


# The inbox and the effect block

_insert_into_inbox = effects._insert_into_inbox


def _all_are_new(inbox: Any, deliveries: Sequence[Delivery]) -> set[Any]:
    return {(delivery.event_id, delivery.target) for delivery in deliveries}


def _insert_and_ignore_the_answer(inbox: Any, deliveries: Sequence[Delivery]) -> set[Any]:
    _insert_into_inbox(inbox, deliveries)
    return _all_are_new(inbox, deliveries)


def _held(deliveries: Sequence[Delivery]) -> list[Delivery]:
    return list(settle.ours(deliveries).select_related("event"))


def _new_to(receiver: Any, deliveries: Sequence[Delivery]) -> list[Delivery]:
    known = receiver.inbox._default_manager.filter(receiver=receiver.name)
    return [d for d in deliveries if not known.filter(event_id=d.event_id).exists()]


def _effect_commits_first(receiver: Any, deliveries: Sequence[Delivery]) -> int:
    held = _held(deliveries)
    with transaction.atomic():
        effects._run(receiver, _new_to(receiver, held))
    with transaction.atomic():
        effects._insert_into_inbox(receiver.inbox, held)
        settle.finish(held)
    return len(held)


def _inbox_commits_first(receiver: Any, deliveries: Sequence[Delivery]) -> int:
    held = _held(deliveries)
    new = _new_to(receiver, held)
    with transaction.atomic():
        effects._insert_into_inbox(receiver.inbox, held)
    with transaction.atomic():
        effects._run(receiver, new)
        settle.finish(held)
    return len(held)


def _verdict_commits_first(receiver: Any, deliveries: Sequence[Delivery]) -> int:
    held = _held(deliveries)
    with transaction.atomic():
        settle.finish(held)
    with transaction.atomic():
        effects.apply_new(receiver, held)
    return len(held)


# Leases and their tokens


def _all_are_ours(deliveries: Sequence[Delivery]) -> Any:
    return Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries])


def _call_without_looking(receiver: Any, deliveries: Sequence[Delivery]) -> int:
    held = list(_all_are_ours(deliveries).select_related("event"))
    effects._run(receiver, held)
    effects._finish(deliveries)
    return len(held)


def _finish_without_token(deliveries: Sequence[Delivery]) -> None:
    _all_are_ours(deliveries).update(
        state=DeliveryState.DONE, due_at=None, finished_at=Now(), **settle._JUDGED
    )
    settle.wake_successors(deliveries)


# Attempts and failures

_lease, _finish, _fail, _hand_back = claim._lease, settle.finish, settle.fail, settle.hand_back
_release_uncounted = leases._release_uncounted


def _add_attempts(deliveries: Sequence[Delivery], number: int) -> None:
    ids = [delivery.pk for delivery in deliveries]
    Delivery.objects.filter(pk__in=ids).update(attempts=F("attempts") + number)


def _lease_uncounted(deliveries: list[Delivery]) -> list[Delivery]:
    leased = _lease(deliveries)
    _add_attempts(leased, -1)
    return leased


def _counting_first(settle_somehow: Callable[..., None]) -> Callable[..., None]:
    def settle_them(deliveries: Sequence[Delivery], **kwargs: Any) -> None:
        _add_attempts(deliveries, 1)
        settle_somehow(deliveries, **kwargs)

    return settle_them


def _count_if_alive(delivery: Delivery, failure: Any, **kwargs: Any) -> None:
    if failure is not leases.DIED:
        _add_attempts([delivery], 1)
    _fail(delivery, failure, **kwargs)


def _drop(delivery: Delivery, failure: Any, **kwargs: Any) -> None:
    with transaction.atomic():
        settle.finish([delivery])


def _fail_all(
    run: Any, receiver: Any, deliveries: Sequence[Delivery], error: Exception, at: Any
) -> None:
    for delivery in deliveries:
        run._fail(receiver, delivery, error, at)


def _count_all(deliveries: Sequence[Delivery], **changed: object) -> None:
    for delivery in deliveries:
        leases._count(delivery)


# Order

_earlier_in_lane = claim.earlier_in_lane


def _no_predecessor() -> Value:
    return Value(None, output_field=BigIntegerField())


def _lane_of_its_own(delivery: Delivery) -> tuple[str, str, str]:
    return ("", "", f"delivery {delivery.pk}")


def _earlier_but_dead() -> Any:
    return _earlier_in_lane().exclude(state=DeliveryState.DEAD)


def _position_lost(state: object) -> None:
    return None


def _position_kept(state: object) -> F:
    return F("position")


# Publishing

_record, _deliveries, _insert = outbox.record, outbox._deliveries, accounts._insert


def _without_points(*args: Any) -> list[Any]:
    return [row for row in _deliveries(*args) if row.receiver != "points.reward_inviter"]


def _record_after_the_commit(signal: Any, data: Any, causes: Any) -> list[Any]:
    if not context._handled_events.get():
        return _record(signal, data, causes)
    known = causes or [context.current_cause()] * len(data)
    transaction.on_commit(partial(_record_alone, signal, data, known))
    return [None] * len(data)


def _record_alone(signal: Any, data: Any, causes: Any) -> None:
    with transaction.atomic():
        _record(signal, data, causes)


def _insert_then_publish(user: Any, inviter: Any, *rows: Any) -> Any:
    published: list[UserRegistered] = []
    with mock.patch.object(user_registered, "publish", published.append):
        referral = _insert(user, inviter, *rows)
    _publish_alone(published)
    return referral


def _publish_then_insert(user: Any, inviter: Any, *rows: Any) -> Any:
    inviter_id = inviter.pk if inviter else None
    _publish_alone([UserRegistered(user_id=user.pk, inviter_id=inviter_id)])
    with mock.patch.object(user_registered, "publish"):
        return _insert(user, inviter, *rows)


def _publish_alone(data: Sequence[UserRegistered]) -> None:
    with transaction.atomic():
        user_registered.publish_many(data)


def _announce_at_once(events: Sequence[tuple[Any, Any]]) -> None:
    for signal, event in events:
        signal.send_robust(sender=type(event.data), event=event)


def _paused_or_not(queue: str) -> list[Receiver]:
    return [receiver for receiver in all_receivers() if receiver.queue == queue]


# Stock and ledger


def _take_without_looking(campaign: Campaign, wanted: int) -> int:
    left = Campaign.objects.filter(pk=campaign.pk, stock__gte=F("issued_count") + wanted)
    left.update(issued_count=F("issued_count") + wanted)
    return wanted


_earning = granting.earning


def _decide_again(decisions: Any) -> None:
    insert(decisions, "ON CONFLICT DO NOTHING")


def _earn_again(*args: Any) -> Any:
    entry = _earning(*args)
    entry.idempotency_key = f"reward:{uuid4()}"
    return entry


_NO_INBOX = {"events.delivery.effects._insert_into_inbox": _all_are_new}
_APPLY = "events.delivery.effects._apply_exactly_once"
_DOUBLED = r"receiver: .*probe\.Effect .*'rows'\) changed by [2-9]"
_MISSING = r"receiver: .*probe\.Effect .*'rows'\) changed by 0"

_ALL = (
    Bug("no-inbox-row", _NO_INBOX, "delivered_twice", _DOUBLED),
    Bug(
        "no-inbox-row-in-time",
        _NO_INBOX,
        "registered_and_replayed",
        "I9: deliveries to probe.greet are done without a row in its inbox",
    ),
    Bug(
        "inbox-answer-ignored",
        {"events.delivery.effects._insert_into_inbox": _insert_and_ignore_the_answer},
        "delivered_twice",
        _DOUBLED,
    ),
    Bug(
        "effect-commits-first",
        {_APPLY: _effect_commits_first},
        "delivery_dies_at:inbox.before",
        _DOUBLED,
    ),
    Bug(
        "inbox-commits-first",
        {_APPLY: _inbox_commits_first},
        "delivery_dies_at:effect.before",
        _MISSING,
    ),
    Bug(
        "done-before-the-effect",
        {_APPLY: _verdict_commits_first},
        "delivery_dies_at:inbox.before",
        _MISSING,
    ),
    Bug(
        "no-sweep",
        {"events.delivery.sweep.sweep": _nothing},
        "delivery_dies_at:claim.committed",
        "receiver: ",
    ),
    Bug(
        "leases-never-released",
        {"events.delivery.leases._release": _nothing},
        "delivery_dies_at:effect.after",
        "receiver: ",
    ),
    Bug(
        "living-taken-for-dead",
        {"events.delivery.leases.is_dead": _always},
        "sweep_among_the_living",
        "leases: ",
    ),
    Bug("fence-ignored", {"events.delivery.settle.ours": _all_are_ours}, "overslept", "calls: "),
    Bug(
        "call-without-looking-at-the-lease",
        {"events.delivery.effects._apply_outside": _call_without_looking},
        "overslept",
        "calls: ",
    ),
    Bug(
        "verdict-without-token",
        {"events.delivery.settle.finish": _finish_without_token},
        "lease_lost_during_the_call",
        "verdict: ",
    ),
    Bug(
        "at-most-once-repeated",
        {"events.delivery.leases._is_at_most_once": _never},
        "only_call_dies_at:effect.after",
        "receiver: ",
    ),
    Bug(
        "attempt-counted-after-the-run",
        {
            "events.delivery.claim._lease": _lease_uncounted,
            "events.delivery.settle.finish": _counting_first(_finish),
            "events.delivery.settle.hand_back": _counting_first(_hand_back),
            "events.delivery.settle.fail": _count_if_alive,
            "events.delivery.leases._release_uncounted": _counting_first(_release_uncounted),
        },
        "killer_in_a_batch",
        "deaths: ",
    ),
    Bug(
        "never-exhausted",
        {"events.retry.RetrySchedule.is_exhausted": _never},
        "poison_in_a_batch",
        "I7: deliveries were attempted more often",
    ),
    Bug(
        "failure-marked-done", {"events.delivery.settle.fail": _drop}, "fails_and_is_mended", "I9: "
    ),
    Bug(
        "batch-mates-charged",
        {"events.delivery.drain._ClaimRun._after_error": _fail_all},
        "poison_in_a_batch",
        "innocents: ",
    ),
    Bug(
        "batch-mates-die-with-the-killer",
        {"events.delivery.leases._release_uncounted": _count_all},
        "killer_in_a_batch",
        "innocents: ",
    ),
    Bug(
        "later-counted",
        {"events.delivery.verdicts.RetryLater": _NoSuchError},
        "asked_for_later",
        "failures: ",
    ),
    Bug(
        "conflict-counted",
        {
            "events.delivery.drain.is_conflict": _never,
            "events.delivery.conflict.is_conflict": _never,
        },
        "conflict",
        "failures: ",
    ),
    Bug(
        "order-ignored",
        {"events.delivery.claim.predecessor": _no_predecessor},
        "order_behind_a_failure",
        "I10: ",
    ),
    Bug(
        "lane-goes-on-after-a-failure",
        {"events.delivery.drain._lane": _lane_of_its_own},
        "order_behind_a_failure",
        "I10: done deliveries were overtaken",
    ),
    Bug(
        "dead-letter-does-not-hold-its-lane",
        {"events.delivery.claim.earlier_in_lane": _earlier_but_dead},
        "order_behind_a_dead_letter",
        "effects: ",
    ),
    Bug(
        "replay-moves-the-unfinished",
        {"events.operations.replay._position_after": _position_lost},
        "order_behind_a_dead_letter",
        "effects: record has",
    ),
    Bug(
        "replay-holds-up-the-lane",
        {"events.operations.replay._position_after": _position_kept},
        "replayed_finished_one",
        "effects: call_outside",
    ),
    Bug(
        "done-wakes-nobody",
        {"events.delivery.settle.wake_successors": _nothing},
        "order_behind_a_failure",
        "I8: deliveries wait though nothing stands before them",
    ),
    Bug(
        "skip-wakes-nobody",
        {"events.operations.skip.settle": SimpleNamespace(wake_successors=_nothing)},
        "skipped_head",
        "I8: deliveries wait though nothing stands before them",
    ),
    Bug(
        "pause-ignored",
        {"events.delivery.claim.active_receivers": _paused_or_not},
        "paused_receiver",
        "effects: record ",
    ),
    Bug(
        "bell-without-deliveries",
        {"events.outbox._deliveries": lambda *args: []},
        "registered",
        "kit: lost: ",
    ),
    Bug(
        "one-receiver-forgotten",
        {"events.outbox._deliveries": _without_points},
        "registered",
        "kit: lost: points.reward_inviter has no delivery",
    ),
    Bug(
        "follow-on-after-the-commit",
        {"events.outbox.record": _record_after_the_commit},
        "dies_right_after_the_commit",
        "follow-on: 0",
    ),
    Bug(
        "account-without-its-event",
        {"accounts.services._insert": _insert_then_publish},
        "sign_up_dies_at:event.inserted",
        "I2: ",
    ),
    Bug(
        "event-without-its-account",
        {"accounts.services._insert": _publish_then_insert},
        "sign_up_dies_at:user.inserted",
        "kit: false: an event tells of an account that is not there",
    ),
    Bug(
        "bell-before-the-rows",
        {"events.outbox._announce_on_commit": _announce_at_once},
        "bells",
        "bell: probe rang for nothing",
    ),
    Bug(
        "no-bell",
        {"events.outbox._announce_on_commit": _nothing},
        "bells",
        "bell: probe was not rung",
    ),
    Bug(
        "reward-without-unique-key",
        {
            **_NO_INBOX,
            "points.services._undecided": list,
            "points.services.insert": _decide_again,
            "points.services.earning": _earn_again,
        },
        "registered_and_replayed",
        "kit: doubled: ",
    ),
    Bug(
        "stock-without-row-count",
        {"coupons.issuing.take_stock": _take_without_looking},
        "sold_out",
        "I3: campaigns count other than the coupons",
    ),
)
BUGS = {bug.name: bug for bug in _ALL}
