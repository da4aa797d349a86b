"""Whether an inviter is owed a reward for a new account.

What is asked, and in which order, stands in two lists; `points.simulating` tells it one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.queries import (
    AccountSummary,
    ReferralSummary,
    accounts_by_id,
    referrals_by_invitee,
)
from points.caps import Tally
from points.rewards import RewardDecision, RewardOutcome, RewardReason, RewardRule, RuleKind
from rulebook import Rule, decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An outcome with its reason, which is empty for a reward that is granted."""

    outcome: RewardOutcome
    reason: RewardReason | str = ""
    rule: RewardRule | None = None
    release_at: datetime | None = None  # when a held reward is due


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Somebody who signed up, and through whom."""

    inviter_id: UUID
    invitee_id: UUID
    registered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the people of some rewards stand now."""

    now: datetime
    accounts: Mapping[UUID, AccountSummary]  # of inviters and invitees
    referrals: Mapping[UUID, ReferralSummary]  # by invitee


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A reward that is to be decided: the rule that promises it, and how the people stand."""

    invitation: Invitation
    rule: RewardRule | None
    release_at: datetime | None  # when it is due; None: at once
    standing: Standing
    tally: Tally | None = None  # None: its place in the caps is taken already

    @property
    def inviter(self) -> AccountSummary:
        """How the inviter's account stands."""
        return self.standing.accounts[self.invitation.inviter_id]

    @property
    def invitee(self) -> AccountSummary:
        """How the invited person's account stands."""
        return self.standing.accounts[self.invitation.invitee_id]

    @property
    def referral_status(self) -> str | None:
        """What was decided about the referral, where there is one."""
        referral = self.standing.referrals.get(self.invitation.invitee_id)
        return None if referral is None else referral.status


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a batch of registrations is judged by."""

    standing: Standing
    rules: Sequence[RewardRule]  # highest version first
    tally: Tally

    def case_of(self, invitation: Invitation) -> Case:
        """Return what ON_REGISTRATION is asked about.

        Rules and caps are those of the moment of registration, accounts are as they are now.
        """
        at = invitation.registered_at
        rule = next((rule for rule in self.rules if rule.covers(at)), None)
        return Case(
            invitation=invitation,
            rule=rule,
            release_at=rule.release_at(at) if rule else None,
            standing=self.standing,
            tally=self.tally,
        )

    def judge(self, invitation: Invitation) -> Verdict:
        """Return the verdict on one invitation."""
        case = self.case_of(invitation)
        return decide(ON_REGISTRATION, case) or granted(case)


def circumstances_of(invitations: Sequence[Invitation], *, afresh: bool = False) -> Circumstances:
    """Read what some invitations are judged by, in as many queries as one takes.

    `afresh` takes them to have brought no reward so far.
    """
    inviters = {invitation.inviter_id for invitation in invitations}
    moments = [invitation.registered_at for invitation in invitations]
    rules = _rules_active_at(moments)
    standing = standing_of(
        {invitation.invitee_id: invitation.inviter_id for invitation in invitations},
        timezone.now(),
    )
    but = [invitation.invitee_id for invitation in invitations] if afresh else []
    tally = Tally(rules, inviters, moments, but=but)
    return Circumstances(standing=standing, rules=rules, tally=tally)


def standing_of(inviters: Mapping[UUID, UUID], now: datetime) -> Standing:
    """Read how some people, and who invited each of them, stand."""
    return Standing(
        now=now,
        accounts=accounts_by_id({*inviters, *inviters.values()}),
        referrals=referrals_by_invitee(inviters),
    )


def judge_pending(decision: RewardDecision, standing: Standing) -> Verdict:
    """Return what becomes of a reward that waits. Its rule and its place in caps stand."""
    case = Case(
        invitation=Invitation(
            inviter_id=decision.inviter_id,
            invitee_id=decision.invitee_id,
            registered_at=decision.occurred_at,
        ),
        rule=decision.rule,
        release_at=decision.release_at,
        standing=standing,
    )
    return decide(ON_WHAT_WAITED, case) or granted(case)


def granted(case: Case) -> Verdict:
    """Return the verdict where no rule of the lists speaks against a reward."""
    return Verdict(outcome=RewardOutcome.GRANTED, rule=case.rule)


def _rules_active_at(moments: Sequence[datetime]) -> list[RewardRule]:
    """Return the rules that are active at some of these moments, highest version first."""
    rules = RewardRule.objects.filter(
        Q(active_until__isnull=True) | Q(active_until__gt=min(moments)),
        kind=RuleKind.REFERRAL,
        active_from__lte=max(moments),
    )
    return list(rules.order_by("-version"))


# --- What is asked, in order ----------------------------------------------------------------------

Question: TypeAlias = Callable[[Case], Verdict | None]


def _is_void(case: Case) -> Verdict | None:
    if case.referral_status != "voided":
        return None
    return Verdict(outcome=RewardOutcome.VOIDED, reason=RewardReason.REFERRAL_VOIDED)


def _inviter_is_closed(case: Case) -> Verdict | None:
    return _skip(RewardReason.INVITER_CLOSED) if case.inviter.status == "closed" else None


def _has_no_rule(case: Case) -> Verdict | None:
    return _skip(RewardReason.NO_ACTIVE_RULE) if case.rule is None else None


def _exceeds_cap(case: Case) -> Verdict | None:
    if case.rule is None or case.tally is None:
        return None
    invitation = case.invitation
    cap = case.tally.refusal(case.rule, invitation.inviter_id, invitation.registered_at)
    return _skip(cap, case.rule) if cap else None


def _skip(reason: RewardReason, rule: RewardRule | None = None) -> Verdict:
    return Verdict(outcome=RewardOutcome.SKIPPED, reason=reason, rule=rule)


def _held_while(waits: Callable[[Case], bool], reason: RewardReason) -> Question:
    """Return a question whose verdict is to hold the reward back for this reason."""

    def ask(case: Case) -> Verdict | None:
        if not waits(case):
            return None
        return Verdict(
            outcome=RewardOutcome.PENDING,
            reason=reason,
            rule=case.rule,
            release_at=case.release_at,
        )

    return ask


def _referral_is_open(case: Case) -> bool:
    return case.referral_status not in {None, "approved"}


def _inviter_is_flagged(case: Case) -> bool:
    return case.inviter.status == "flagged"


def _invitee_is_flagged(case: Case) -> bool:
    return case.invitee.status == "flagged"


def _is_not_due(case: Case) -> bool:
    return case.release_at is not None and case.release_at > case.standing.now


RewardQuestion: TypeAlias = Rule[Case, Verdict]

_FOR_GOOD: tuple[RewardQuestion, ...] = (
    Rule("invitation_counts", _("The invitation counts."), _is_void),
    Rule("inviter_open", _("The inviter's account is open."), _inviter_is_closed),
)
_FOR_NOW: tuple[RewardQuestion, ...] = (
    Rule(
        "invitation_cleared",
        _("The invitation is not under review."),
        _held_while(_referral_is_open, RewardReason.REFERRAL_FLAGGED),
    ),
    Rule(
        "inviter_cleared",
        _("The inviter's account is not under review."),
        _held_while(_inviter_is_flagged, RewardReason.INVITER_FLAGGED),
    ),
    Rule(
        "invitee_cleared",
        _("The invited person's account is not under review."),
        _held_while(_invitee_is_flagged, RewardReason.INVITEE_FLAGGED),
    ),
    Rule(
        "due",
        _("The waiting time is over, or there is none."),
        _held_while(_is_not_due, RewardReason.HOLD_PERIOD),
    ),
)

ON_REGISTRATION: tuple[RewardQuestion, ...] = (
    *_FOR_GOOD,
    Rule("rule_active", _("A rule was active when the person registered."), _has_no_rule),
    Rule("within_caps", _("The inviter has rewards left to earn by that rule."), _exceeds_cap),
    *_FOR_NOW,
)
ON_WHAT_WAITED: tuple[RewardQuestion, ...] = (*_FOR_GOOD, *_FOR_NOW)
