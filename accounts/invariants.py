"""What must always hold of accounts: I1, what clients were told; I2, what was published; I13."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from knox.models import AuthToken

import digests
from accounts import closing, emails
from accounts.models import (
    FRAUD,
    AccountStatus,
    FormerAddress,
    Referral,
    ReferralStatus,
    StatusChange,
    StatusSubject,
    User,
)
from accounts.services import verification_is_mandatory
from accounts.settling import waiting_for_inviters
from accounts.signals import user_registered
from events.models import Delivery, DeliveryState, Event
from events.operations.checksum import register_effects
from events.operations.history import HistoryLine
from events.operations.ids import AsId, AsKey
from events.operations.invariants import Breach, Circumstances, breach_of, breaches_in, invariant

LOOKED_UP_AT_ONCE = 500  # addresses
SETTLE_RECEIVER = "accounts.settle_referrals"

register_effects(
    StatusChange, fields=["user_id", "subject", "before", "after", "reason"], event_field="event_id"
)


@invariant("I1", "Clients were told the truth about their sign-ups.", needs_history=True)
def check_answers(circumstances: Circumstances) -> Iterator[Breach]:
    """I1. Lines of the history stand for the addresses, which nobody needs to see."""
    told = _told_by_address(circumstances.history or ())
    accounts = _accounts_of(list(told))
    complete = _complete_among([account.pk for found in accounts.values() for account in found])
    yield from _judge(told, accounts, complete)


@invariant("I2", "Every registered account has one user_registered event, and no one else has.")
def check_registrations(circumstances: Circumstances) -> Iterator[Breach]:
    """I2. Staff made at a terminal, and who has not confirmed an address yet, have none."""
    published = Event.objects.filter(type=user_registered.type)
    registered = User.objects.filter(registered_at__isnull=False)
    # An expression, or SQLite looks among all registrations by their type, not among one key's.
    of_the_type = Event.objects.annotate(named=Coalesce("type", Value("")))
    theirs = of_the_type.filter(named=user_registered.type, key=AsKey(OuterRef("pk")))
    yield from breaches_in(
        registered.filter(~Exists(theirs)),
        what="registered accounts have no user_registered event",
        hint="The account and its event are one transaction: look at what wrote the account.",
    )
    repeated = published.values("key").annotate(count=Count("pk")).filter(count__gt=1)
    yield from breaches_in(
        repeated,
        what="accounts have several user_registered events",
        hint="Receivers decide once per account; look at what published the second one.",
        id_field="key",
    )
    yield from breaches_in(
        published.filter(~Exists(registered.filter(pk=AsId(OuterRef("key"))))),
        what="user_registered events name no registered account",
        hint="Was an account deleted, or registered_at taken away? Accounts are closed instead.",
        id_field="event_id",
    )


@invariant("I13", "A closed account is anonymous, and histories tell how each status came about.")
def check_standing(circumstances: Circumstances) -> Iterator[Breach]:
    """I13. That the history's events exist is a matter of I6."""
    yield from _named_though_closed()
    yield from _without_history()
    yield from _undecided()


def _named_though_closed() -> Iterator[Breach]:
    closed = User.objects.filter(status=AccountStatus.CLOSED)
    has_address = Exists(EmailAddress.objects.filter(user=OuterRef("pk")))
    has_token = Exists(AuthToken.objects.filter(user=OuterRef("pk")))
    yield from breaches_in(
        closed.exclude(email__endswith=emails.placeholder_ending()) | closed.filter(has_address),
        what="closed accounts still have an e-mail address",
        hint="Something else than close_account closed them, or gave them an address.",
    )
    yield from breaches_in(
        closed.filter(has_token),
        what="closed accounts still have API tokens",
        hint="Delete the tokens; look at what made them.",
    )


def _without_history() -> Iterator[Breach]:
    newest = StatusChange.objects.filter(
        user=OuterRef("pk"), subject=StatusSubject.ACCOUNT
    ).order_by("-pk")
    told = User.objects.annotate(
        told=Coalesce(Subquery(newest.values("after")[:1]), Value(AccountStatus.ACTIVE.value))
    )
    yield from breaches_in(
        told.exclude(status=F("told")),
        what="accounts have another status than the last change of it says",
        hint="Something else than accounts.standing and accounts.closing changed them.",
    )


def _undecided() -> Iterator[Breach]:
    registered = Referral.objects.filter(invitee__registered_at__isnull=False)
    yield from breaches_in(
        registered.filter(status=ReferralStatus.PENDING),
        what="referrals of registered people are not decided",
        hint="A registration and the decision are one transaction: look at what wrote them.",
    )
    frauds = StatusChange.objects.filter(
        ~Exists(_unsettled("user_id")),
        subject=StatusSubject.ACCOUNT,
        after=AccountStatus.CLOSED,
        reason=FRAUD,
    ).values("user")
    theirs = registered.filter(Q(invitee__in=frauds) | Q(inviter__in=frauds))
    yield from breaches_in(
        theirs.exclude(status=ReferralStatus.VOIDED),
        what="referrals of or by a fraud count",
        hint="Void them in the admin, under Referrals.",
    )
    yield from breaches_in(
        waiting_for_inviters()
        .exclude(inviter__status=AccountStatus.FLAGGED)
        .exclude(Exists(_unsettled("inviter_id"))),
        what="referrals wait for an inviter who is not under review",
        hint="Approve or void them in the admin, under Referrals.",
    )


def _unsettled(user_id: str) -> QuerySet[Delivery]:
    """Return what the receiver that settles referrals is still owed about an account."""
    owed = Delivery.objects.filter(receiver=SETTLE_RECEIVER, key=AsKey(OuterRef(user_id)))
    return owed.exclude(state=DeliveryState.DONE)


@dataclass(slots=True)
class _Told:
    """What clients asked and were told about one address."""

    lines: list[int] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    @property
    def must_exist(self) -> bool:
        return "ok" in self.types

    @property
    def must_not_exist(self) -> bool:
        """Tell whether every request was refused, none of them without an answer."""
        refused = self.types.count("fail")
        unanswered = self.types.count("invoke") > refused
        return refused > 0 and not unanswered and not {"ok", "info"} & set(self.types)


def _told_by_address(history: Sequence[HistoryLine]) -> dict[str, _Told]:
    told: dict[str, _Told] = {}
    for line in history:
        about = told.setdefault(emails.fold_email(line.email), _Told())
        about.lines.append(line.number)
        about.types.append(line.type)
        if line.type == "ok" and line.id is not None:
            about.ids.add(line.id)
    return told


def _accounts_of(addresses: Sequence[str]) -> dict[str, list[User]]:
    """Return the accounts of addresses: the present one first, then closed ones that had it."""
    found: dict[str, list[User]] = {}
    for start in range(0, len(addresses), LOOKED_UP_AT_ONCE):
        chunk = addresses[start : start + LOOKED_UP_AT_ONCE]
        users = User.objects.filter(email__in=chunk).only("pk", "email", "registered_at")
        for user in users:
            found.setdefault(user.email, []).append(user)
        for address, user in _closed_accounts_of(chunk):
            found.setdefault(address, []).append(user)
    return found


def _closed_accounts_of(addresses: Sequence[str]) -> Iterator[tuple[str, User]]:
    by_digest = {
        digest: address
        for address in addresses
        for digest in digests.digests(closing.ADDRESS, address)
    }
    former = FormerAddress.objects.filter(address_digest__in=list(by_digest))
    for row in former.select_related("account").order_by("-account__closed_at"):
        yield by_digest[row.address_digest], row.account


def _complete_among(user_ids: Sequence[UUID]) -> set[UUID]:
    """Return the accounts that have everything that a sign-up writes in its transaction.

    That their events are there is a matter of I2.
    """
    ready = Q() if verification_is_mandatory() else Q(registered_at__isnull=False)
    has_address = Exists(EmailAddress.objects.filter(user=OuterRef("pk")))
    whole = User.objects.filter(ready & has_address | Q(status=AccountStatus.CLOSED))
    complete: set[UUID] = set()
    for start in range(0, len(user_ids), LOOKED_UP_AT_ONCE):
        chunk = user_ids[start : start + LOOKED_UP_AT_ONCE]
        complete.update(whole.filter(pk__in=chunk).values_list("pk", flat=True))
    return complete


def _judge(
    told: dict[str, _Told], accounts: dict[str, list[User]], complete: set[UUID]
) -> Iterator[Breach]:
    lost, unwanted, others, halves = [], [], [], []
    for address, about in told.items():
        found, line = accounts.get(address, []), f"line {about.lines[-1]}"
        ids = {str(account.pk) for account in found}
        if not found:
            lost += [line] if about.must_exist else []
            continue
        unwanted += [line] if about.must_not_exist else []
        others += [line] if about.ids - ids else []
        halves += [line] if found[0].pk not in complete else []
    yield from breach_of(
        lost,
        what="addresses were told of their sign-up, but have no account",
        hint="An answer was given before the commit, or committed rows were lost.",
    )
    yield from breach_of(
        unwanted,
        what="addresses were refused, but have an account",
        hint="Something was committed and then answered with an error.",
    )
    yield from breach_of(
        others,
        what="addresses were told another id than their account has",
        hint="Two accounts were made for one address, or an answer was mixed up.",
    )
    yield from breach_of(
        halves,
        what="addresses have an account that is not complete",
        hint="A sign-up was written in more than one transaction.",
    )
