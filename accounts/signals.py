"""The events accounts publishes: its public contract. Other apps connect receivers to these.

All of them are about one person and keyed by that person, so that each receiver meets them in
order. Receivers of different events meet theirs in any order: read the state of an account or a
referral from `accounts.queries`, and take the event as the reason to look.
"""

from dataclasses import dataclass
from uuid import UUID

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered:
    """A person finished signing up. Published once per account, in the transaction that did it."""

    user_id: UUID  # the account's primary key and public id
    inviter_id: UUID | None  # who invited them; None where no referral was applied


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFlagged:
    """An account came under review: its benefits are suspended until it is cleared or closed."""

    user_id: UUID
    reason: str  # a short code, such as "risk_check" or "by_staff"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCleared:
    """An account that was under review is in good standing again."""

    user_id: UUID
    reason: str  # a short code, such as "risk_check" or "by_staff"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountClosed:
    """An account was closed for good and anonymised. Published once per account."""

    user_id: UUID
    reason: str  # "requested" by its owner, or "fraud"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralApproved:
    """A referral that was held for review counts. Not published where it counted from the start."""

    invitee_id: UUID
    inviter_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralVoided:
    """A referral does not count, for good: what it brought is taken back."""

    invitee_id: UUID
    inviter_id: UUID
    reason: str  # a short code, such as "fraud" or "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralSettlementRequested:
    """Referrals are to follow how an account stands now, a chunk at a time. Accounts does it.

    Published where a chunk left some, and where a closed account was found to be a fraud's.
    """

    user_id: UUID  # who invited, or was invited


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCheckRequested:
    """Somebody else is asked to judge a new account. The answer is `RiskDecided`, or none."""

    user_id: UUID
    signals: list[str]  # what was noticed, sorted: accounts.models.RiskSignalKind values


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskDecided:
    """An answer to a risk check, or a judgment nobody asked for. Accounts acts on it."""

    user_id: UUID
    decision: str  # "flag" | "clear"
    # Why, at most 200 characters, best a short code. No personal data, such as an address: events
    # are kept for ever and never rewritten, not even when the account is closed.
    reason: str


user_registered = EventSignal(
    "accounts.user_registered",
    version=1,
    data=UserRegistered,
    key="user_id",
    concerns=["inviter_id"],
)

account_flagged = EventSignal(
    "accounts.account_flagged", version=1, data=AccountFlagged, key="user_id"
)

account_cleared = EventSignal(
    "accounts.account_cleared", version=1, data=AccountCleared, key="user_id"
)

account_closed = EventSignal(
    "accounts.account_closed", version=1, data=AccountClosed, key="user_id"
)

referral_approved = EventSignal(
    "accounts.referral_approved",
    version=1,
    data=ReferralApproved,
    key="invitee_id",
    concerns=["inviter_id"],
)

referral_voided = EventSignal(
    "accounts.referral_voided",
    version=1,
    data=ReferralVoided,
    key="invitee_id",
    concerns=["inviter_id"],
)

referral_settlement_requested = EventSignal(
    "accounts.referral_settlement_requested",
    version=1,
    data=ReferralSettlementRequested,
    key="user_id",
)

risk_check_requested = EventSignal(
    "accounts.risk_check_requested", version=1, data=RiskCheckRequested, key="user_id"
)

risk_decided = EventSignal("accounts.risk_decided", version=1, data=RiskDecided, key="user_id")
