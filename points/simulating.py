"""What an inviter would get for a person, and why not: what is decided, told rule by rule.

It asks what the receiver asks, and writes nothing. What was decided before stays, as it does there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrOrPromise

from points.eligibility import ON_REGISTRATION, Invitation, Verdict, circumstances_of, granted
from points.rewards import RewardDecision, RewardReason
from points.services import decisions_about
from rulebook import Rule, Step, put, walk


@dataclass(frozen=True, slots=True)
class NobodyInvited:
    """There is nobody to reward: nothing is decided."""


Answer: TypeAlias = Verdict | NobodyInvited | RewardDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What would be decided about rewarding whoever invited a person."""

    inviter_id: UUID | None
    steps: Sequence[Step[Any, Answer]]  # what was asked, up to what decides
    answer: Answer

    @property
    def outcome(self) -> str:
        """A RewardOutcome; or "decided", where that was done before; or "nothing"."""
        if isinstance(self.answer, RewardDecision):
            return "decided"
        return self.answer.outcome.value if isinstance(self.answer, Verdict) else "nothing"

    @property
    def reason(self) -> str:
        """The code of why there are no points: empty where there would be some."""
        return "not_invited" if isinstance(self.answer, NobodyInvited) else str(self.answer.reason)

    @property
    def sentence(self) -> StrOrPromise:
        """Why there are no points, in a few words."""
        if isinstance(self.answer, NobodyInvited):
            return _("nobody invited this person")
        return RewardReason(self.answer.reason).label if self.answer.reason else ""

    @property
    def points(self) -> int:
        """What the rule promises, granted or not."""
        match self.answer:
            case RewardDecision(points=points):
                return points
            case Verdict(rule=rule) if rule is not None:
                return rule.points
        return 0

    @property
    def due_at(self) -> datetime | None:
        """When a reward that waits is due."""
        return None if isinstance(self.answer, NobodyInvited) else self.answer.release_at

    @property
    def decision(self) -> RewardDecision | None:
        """What was decided before."""
        return self.answer if isinstance(self.answer, RewardDecision) else None


def outlook(
    *, invitee_id: UUID, inviter_id: UUID | None, at: datetime, afresh: bool = False
) -> Outlook:
    """Return what would be decided about the inviter of a person who registers at a moment.

    `afresh` asks as if nothing were decided so far. Call it for accounts that exist.
    """
    steps: list[Step[Any, Answer]] = [put(_INVITED, inviter_id)]
    if inviter_id is not None and not afresh:
        steps.append(put(_UNDECIDED, decisions_about([invitee_id]).get(invitee_id)))
    answer = steps[-1].verdict
    if inviter_id is not None and answer is None:
        invitation = Invitation(inviter_id=inviter_id, invitee_id=invitee_id, registered_at=at)
        case = circumstances_of([invitation], afresh=afresh).case_of(invitation)
        steps.extend(walk(ON_REGISTRATION, case))
        answer = steps[-1].verdict or granted(case)
    return Outlook(inviter_id=inviter_id, steps=steps, answer=answer or NobodyInvited())


_INVITED: Rule[UUID | None, NobodyInvited] = Rule(
    "invited",
    _("Somebody invited this person."),
    lambda inviter_id: NobodyInvited() if inviter_id is None else None,
)
_UNDECIDED: Rule[RewardDecision | None, RewardDecision] = Rule(
    "undecided", _("Nothing is decided about the reward so far."), lambda known: known
)
