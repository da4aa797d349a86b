"""The kit's own judgement of a database: nothing lost, nothing doubled, nothing stuck.

It shares no code with the product's `check_invariants`, so that neither hides the other's mistake.
It is meant for a database at rest, of a world as `world.open_campaign_and_rule` makes it: campaigns
with no limits, no account closed or flagged, and no receiver that fails on purpose.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from django.db.models import Count, F, QuerySet, Sum

from accounts.models import Referral, ReferralStatus, User
from accounts.signals import user_registered
from coupons.models import Campaign, Coupon, IssueDecision
from events.models import Delivery, DeliveryState, Event
from events.receivers import Guarantee, all_receivers
from points.models import Entry, PointsAccount, RewardDecision
from tests.faults.chaos.history import Line, told
from tests.probe.models import Effect

Kind: TypeAlias = Literal["lost", "doubled", "stuck", "false"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. `false` is what nobody asked for, or what does not add up."""

    kind: Kind
    what: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} ({self.id})"


def check_everything(history: Iterable[Line] = ()) -> list[Finding]:
    """Return all findings. Without a history, what clients were told is left out."""
    history = list(history)
    return [
        *(check_history(history) if history else ()),
        *check_events(),
        *check_deliveries(),
        *check_coupons(),
        *check_points(),
        *check_probe(),
    ]


def check_history(history: Iterable[Line]) -> Iterator[Finding]:
    """Compare what clients were told with the accounts there are."""
    known = told(history)
    asked = {*known.stored, *known.refused, *known.unknown}
    ids = dict(User.objects.filter(email__in=asked).values_list("email", "pk"))
    for email, told_id in known.stored.items():
        if email not in ids:
            yield Finding("lost", "a registration that was answered has no account", email)
        elif told_id not in {None, str(ids[email])}:
            yield Finding("false", f"the account is {ids[email]}, another id was told", email)
    for email in known.refused & ids.keys():
        yield Finding("false", "a registration that was refused has an account", email)


def check_events() -> Iterator[Finding]:
    """Every registered account has one event of it, and every such event an account."""
    published = Event.objects.filter(type=user_registered.type)
    counts = dict(published.order_by().values_list("key").annotate(Count("pk")))
    registered = {str(pk) for pk in _registered().values_list("pk", flat=True)}
    for pk in registered - counts.keys():
        yield Finding("lost", "an account has no event of its registration", pk)
    for pk in counts.keys() - registered:
        yield Finding("false", "an event tells of an account that is not there", pk)
    for pk, number in counts.items():
        if number > 1:
            yield Finding("doubled", f"an account has {number} events of its registration", pk)


def check_deliveries() -> Iterator[Finding]:
    """Every event has a delivery for every receiver of it: done, and in its inbox once."""
    for delivery in Delivery.objects.exclude(state=DeliveryState.DONE):
        what = f"{delivery.receiver} is {delivery.state} after {delivery.attempts} attempts"
        yield Finding("stuck", f"{what} ({delivery.last_error})", str(delivery.event_id))
    for receiver in all_receivers():
        owed = _events_of(signal.type for signal in receiver.signals)
        for event_id in owed - _event_ids(Delivery.objects.filter(receiver=receiver.name)):
            yield Finding("lost", f"{receiver.name} has no delivery of an event", str(event_id))
        if receiver.guarantee is Guarantee.EXACTLY_ONCE and receiver.inbox is not None:
            applied = receiver.inbox._default_manager.filter(receiver=receiver.name)
            done = Delivery.objects.filter(receiver=receiver.name, state=DeliveryState.DONE)
            for event_id in _event_ids(done) ^ _event_ids(applied):
                what = f"{receiver.name}: its inbox and its finished deliveries differ"
                yield Finding("false", what, str(event_id))


def check_coupons() -> Iterator[Finding]:
    """Every registered account has one coupon of each campaign of the world."""
    for campaign in Campaign.objects.all():
        people = _registered().filter(registered_at__gte=campaign.starts_at)
        yield from _once_each(people, Coupon.objects.filter(campaign=campaign), "coupon")
        yield from _once_each(people, IssueDecision.objects.filter(campaign=campaign), "decision")
        if campaign.issued_count != campaign.coupons.count():
            yield Finding("false", f"{campaign.issued_count} coupons are counted", str(campaign.pk))


def check_points() -> Iterator[Finding]:
    """Every credited referral was rewarded once, and every balance is the sum of its entries."""
    invited = User.objects.filter(
        pk__in=Referral.objects.filter(status=ReferralStatus.APPROVED).values("invitee")
    )
    decisions = RewardDecision.objects.annotate(user_id=F("invitee_id"))
    yield from _once_each(invited, decisions, "reward decision")
    rewarded = Entry.objects.filter(idempotency_key__startswith="reward:").count()
    if rewarded != invited.count():
        kind: Kind = "lost" if rewarded < invited.count() else "doubled"
        yield Finding(kind, f"{invited.count()} people were invited", f"{rewarded} entries")
    for account in PointsAccount.objects.annotate(total=Sum("entries__amount", default=0)):
        if account.balance != account.total:
            what = f"the balance is {account.balance}, the entries are {account.total}"
            yield Finding("false", what, str(account.pk))


def check_probe() -> Iterator[Finding]:
    """The probe's effects have no unique constraint: what was applied twice is there twice."""
    rows = Effect.objects.filter(receiver="greet").order_by()
    counts = dict(rows.values_list("event_id").annotate(Count("pk")))
    for event_id in _events_of([user_registered.type]) - counts.keys():
        yield Finding("lost", "probe.greet has no effect of an event", str(event_id))
    for event_id, number in counts.items():
        if number > 1:
            yield Finding("doubled", f"probe.greet has {number} effects", str(event_id))


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each kind, none left out."""
    counts: dict[str, int] = {"lost": 0, "doubled": 0, "stuck": 0, "false": 0}
    for finding in findings:
        counts[finding.kind] += 1
    return counts


def _registered() -> QuerySet[User]:
    return User.objects.filter(registered_at__isnull=False)


def _once_each(people: QuerySet[User], rows: QuerySet[Any], what: str) -> Iterator[Finding]:
    counts = dict(rows.order_by().values_list("user_id").annotate(Count("pk")))
    for pk in people.values_list("pk", flat=True):
        number = counts.get(pk, 0)
        if number != 1:
            kind: Kind = "doubled" if number else "lost"
            yield Finding(kind, f"an account has {number} of one {what}", str(pk))


def _events_of(types: Iterable[str]) -> set[Any]:
    known = Event.objects.filter(type__in=list(types))
    return set(known.values_list("event_id", flat=True))


def _event_ids(rows: QuerySet[Any]) -> set[Any]:
    return set(rows.values_list("event_id", flat=True))
