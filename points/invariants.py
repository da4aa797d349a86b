"""What must always hold of points: I4, rewards; I5, the ledger."""

from collections.abc import Iterator

from django.db.models import (
    BigIntegerField,
    CharField,
    Count,
    Exists,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Concat, NullIf, Right

from accounts.signals import user_registered
from events.models import Delivery, DeliveryState, Event
from events.operations.checksum import register_effects
from events.operations.ids import AsId, AsKey
from events.operations.invariants import (
    Breach,
    Circumstances,
    breach_of,
    breaches_in,
    invariant,
)
from points.ledger import Entry, EntryKind, Lot, PointsAccount
from points.queries import REWARD_RECEIVER
from points.rebuilding import differences
from points.rewards import RewardDecision, RewardOutcome, RuleKind

register_effects(
    RewardDecision,
    fields=[
        "id",
        "rule_kind",
        "invitee_id",
        "inviter_id",
        "outcome",
        "reason",
        "rule_id",
        "points",
        "event_id",
    ],
    event_field="event_id",
)
register_effects(
    Entry,
    fields=[
        "id",
        "account_id",
        "number",
        "kind",
        "amount",
        "balance_after",
        "idempotency_key",
        "reverses_id",
        "lot_id",
        "event_id",
    ],
    event_field="event_id",
)
register_effects(PointsAccount, fields=["user_id", "balance", "pending", "lifetime_earned"])
register_effects(Lot, fields=["entry_id", "account_id", "remaining"])

_TELL = "No code path leads here. Keep a copy of the database and look at what wrote the rows."
_UUID_LENGTH = 36  # characters, with its hyphens


@invariant("I4", "One decision per invited person and rule, and points exactly where one grants.")
def check_rewards(circumstances: Circumstances) -> Iterator[Breach]:
    """I4, and that a delivered registration of an invited person was decided."""
    per_invitee = RewardDecision.objects.order_by().values("invitee_id", "rule_kind")
    yield from breaches_in(
        per_invitee.annotate(count=Count("pk")).filter(count__gt=1),
        what="invited people have several decisions by one kind of rule",
        hint=_TELL,
        id_field="invitee_id",
    )
    yield from breaches_in(
        RewardDecision.objects.filter(inviter=F("invitee")),
        what="decisions reward people for inviting themselves",
        hint=_TELL,
    )
    yield from breaches_in(
        RewardDecision.objects.filter(event_id__isnull=False).filter(_contradicts_its_event()),
        what="decisions name other people than their event",
        hint=_TELL,
    )
    yield from _check_grants_and_entries()
    yield from breaches_in(
        _undecided(),
        what="registrations of invited people were delivered, but not decided",
        hint="`manage.py explain --event ID` tells the story of one.",
        id_field="event_id",
    )


@invariant("I5", "A balance is the sum of its entries, and below zero only by a reversal.")
def check_ledger(circumstances: Circumstances) -> Iterator[Breach]:
    """I5. Entries are numbered from 1 without a gap, and each says what balance it left."""
    sums = PointsAccount.objects.annotate(
        entries_sum=Coalesce(Sum("entries__amount"), 0, output_field=BigIntegerField()),
        entries_count=Count("entries"),
        latest=Coalesce(Max("entries__number"), 0, output_field=BigIntegerField()),
    )
    yield from breaches_in(
        sums.exclude(balance=F("entries_sum")),
        what="balances are not the sum of their entries",
        hint="The entries are the truth: `manage.py rebuild_points --repair`.",
    )
    yield from breaches_in(
        sums.exclude(version=F("latest"), entries_count=F("latest")),
        what="accounts have a gap in their entries, or count them wrongly",
        hint=_TELL,
    )
    yield from breaches_in(
        _broken_links(),
        what="entries do not add up with the one before",
        hint=_TELL,
    )
    yield from breaches_in(
        Entry.objects.filter(balance_after__lt=0, amount__lt=0).exclude(kind=EntryKind.REVERSAL),
        what="entries took a balance below zero, and are no reversals",
        hint=_TELL,
    )
    yield from breaches_in(
        _wrong_about_pending(),
        what="accounts count other than the points of their pending rewards",
        hint="The decisions are the truth: `manage.py rebuild_points --repair`.",
    )


@invariant("I5", "What is left of each credit is what the entries leave of it.")
def check_lots(circumstances: Circumstances) -> Iterator[Breach]:
    """I5. With that a balance is what the lots hold, less the deficit: a replay makes it so."""
    wrong = [d.lot_id for d in differences() if d.lot_id is not None]
    yield from breach_of(
        wrong,
        what="lots hold other than what the entries leave of their credits",
        hint="The entries are the truth: `manage.py rebuild_points --repair`.",
    )


def _contradicts_its_event() -> Q:
    """Return which decisions' event, where it exists (see I6), is about others."""
    event = Event.objects.filter(event_id=OuterRef("event_id"))
    about_them = event.annotate(inviter=_inviter()).filter(
        key=AsKey(OuterRef("invitee_id")), inviter=AsKey(OuterRef("inviter_id"))
    )
    return Q(Exists(event)) & ~Q(Exists(about_them))


def _check_grants_and_entries() -> Iterator[Breach]:
    key = Concat(
        Value("reward:"),
        OuterRef("rule_kind"),
        Value(":"),
        AsKey(OuterRef("invitee_id")),
        output_field=CharField(),
    )
    entries = _rewarding().filter(
        idempotency_key=key, account=OuterRef("inviter_id"), amount=OuterRef("points")
    )
    yield from breaches_in(
        RewardDecision.objects.filter(~Exists(entries), outcome=RewardOutcome.GRANTED),
        what="rewards were granted without their entry in the ledger",
        hint=_TELL,
    )
    grants = RewardDecision.objects.filter(
        invitee=AsId(OuterRef("invitee_key")),
        rule_kind=OuterRef("reason"),
        outcome=RewardOutcome.GRANTED,
    )
    yield from breaches_in(
        _rewarding()
        .annotate(invitee_key=Right("idempotency_key", _UUID_LENGTH))
        .filter(~Exists(grants)),
        what="entries reward people whom no decision grants anything",
        hint=_TELL,
    )


def _rewarding() -> QuerySet[Entry]:
    """Return the entries that credit a reward and were not taken back."""
    return Entry.objects.filter(
        kind=EntryKind.EARN, idempotency_key__startswith="reward:", reversed_by__isnull=True
    )


def _undecided() -> QuerySet[Event]:
    delivered = Delivery.objects.filter(
        event_id=OuterRef("event_id"),
        receiver=REWARD_RECEIVER,
        target="",
        state=DeliveryState.DONE,
    )
    decided = RewardDecision.objects.filter(
        invitee=AsId(OuterRef("key")), rule_kind=RuleKind.REFERRAL
    )
    registrations = Event.objects.filter(type=user_registered.type).annotate(inviter=_inviter())
    invited = registrations.filter(inviter__isnull=False)
    return invited.filter(~Exists(decided)).filter(Exists(delivered))


def _inviter() -> NullIf:
    # JSON's null is text to SQLite, and null to PostgreSQL.
    return NullIf(KeyTextTransform("inviter_id", "data"), Value("null"), output_field=CharField())


def _broken_links() -> QuerySet[Entry]:
    # One without a predecessor adds up from nothing; that it is the first says the numbering.
    before = Entry.objects.filter(account=OuterRef("account"), number=OuterRef("number") - 1)
    balance_before = Coalesce(Subquery(before.values("balance_after")[:1]), 0)
    return Entry.objects.annotate(expected=balance_before + F("amount")).exclude(
        balance_after=F("expected")
    )


def _wrong_about_pending() -> QuerySet[PointsAccount]:
    decisions = RewardDecision.objects.filter(inviter=OuterRef("pk"), outcome=RewardOutcome.PENDING)
    points = decisions.order_by().values("inviter").values(points=Sum("points"))
    promised = Subquery(points, output_field=BigIntegerField())
    return PointsAccount.objects.annotate(promised=Coalesce(promised, 0)).exclude(
        pending=F("promised")
    )
