"""The events accounts publishes: its public contract. Other apps connect receivers to these."""

from dataclasses import dataclass
from uuid import UUID

from events.signals import EventSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered:
    """A person finished signing up. Published once per account, in the transaction that did it."""

    user_id: UUID  # the account's primary key and public id
    inviter_id: UUID | None  # who invited them; None where no referral was applied


user_registered = EventSignal(
    "accounts.user_registered", version=1, data=UserRegistered, key="user_id"
)
