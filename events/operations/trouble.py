"""What a story can come to: how bad it is, what to say of it, and what mends it."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from uuid import UUID

from django.utils.translation import gettext_lazy as _

NOTHING = _("Nothing.")  # is to be done


class Severity(IntEnum):
    """How much a delivery that is not done needs somebody."""

    UNDERWAY = 1  # it goes on by itself
    GIVEN_UP = 2  # an operator decided against it
    BROKEN = 3  # somebody must do something


class Action(StrEnum):
    """What an operator can do with a button."""

    REPLAY = "replay"
    SKIP = "skip"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """The action that mends a trouble, and on what: where one action can."""

    action: Action
    delivery_id: int  # the one that is stuck, which may stand before the one that was asked about
    receiver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is not done."""

    severity: Severity
    event_id: UUID
    what: str
    because: str
    do: str
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to tell whoever asked."""

    state: str  # "broken", "underway", "given_up" or "ok"
    what: str
    because: str
    do: str
    others: int = 0  # further things that are not done
    remedy: Remedy | None = None
