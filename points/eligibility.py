"""Whether an inviter is owed a reward for a new account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accounts.queries import AccountSummary, ReferralSummary
from points.caps import Tally
from points.rewards import RewardDecision, RewardOutcome, RewardReason, RewardRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An outcome with its reason, which is empty for a reward that is granted."""

    outcome: RewardOutcome
    reason: RewardReason | str = ""
    rule: RewardRule | None = None
    release_at: datetime | None = None  # when a held reward is due


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the people of some rewards stand now."""

    now: datetime
    accounts: Mapping[UUID, AccountSummary]  # of inviters and invitees
    referrals: Mapping[UUID, ReferralSummary]  # by invitee

    def judge_pending(self, decision: RewardDecision) -> Verdict:
        """Return what becomes of a reward that waits. Its rule and its place in caps stand."""
        refusal = self.refusal(decision.inviter_id, decision.invitee_id)
        return refusal or self.grant_or_hold(
            decision.inviter_id, decision.invitee_id, decision.rule, decision.release_at
        )

    def refusal(self, inviter_id: UUID, invitee_id: UUID) -> Verdict | None:
        """Return why there will never be a reward, whatever the rules say, or None."""
        referral = self.referrals.get(invitee_id)
        if referral is not None and referral.status == "voided":
            return Verdict(outcome=RewardOutcome.VOIDED, reason=RewardReason.REFERRAL_VOIDED)
        if self.accounts[inviter_id].status == "closed":
            return _skip(RewardReason.INVITER_CLOSED)
        return None

    def grant_or_hold(
        self,
        inviter_id: UUID,
        invitee_id: UUID,
        rule: RewardRule | None,
        release_at: datetime | None,
    ) -> Verdict:
        """Return the verdict on a reward that a rule promises, due at `release_at`; None: now."""
        reason = self._reason_to_hold(inviter_id, invitee_id, release_at)
        if reason is None:
            return Verdict(outcome=RewardOutcome.GRANTED, rule=rule)
        return Verdict(
            outcome=RewardOutcome.PENDING, reason=reason, rule=rule, release_at=release_at
        )

    def _reason_to_hold(
        self, inviter_id: UUID, invitee_id: UUID, release_at: datetime | None
    ) -> RewardReason | None:
        referral = self.referrals.get(invitee_id)
        if referral is not None and referral.status != "approved":
            return RewardReason.REFERRAL_FLAGGED
        if self.accounts[inviter_id].status == "flagged":
            return RewardReason.INVITER_FLAGGED
        if self.accounts[invitee_id].status == "flagged":
            return RewardReason.INVITEE_FLAGGED
        if release_at is not None and release_at > self.now:
            return RewardReason.HOLD_PERIOD
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a batch of registrations is judged by."""

    standing: Standing
    rules: Sequence[RewardRule]  # highest version first
    tally: Tally

    def judge(self, *, inviter_id: UUID, invitee_id: UUID, registered_at: datetime) -> Verdict:
        """Return the verdict on one invitation.

        Rules and caps are those of the moment of registration, accounts are as they are now.
        """
        if refusal := self.standing.refusal(inviter_id, invitee_id):
            return refusal
        rule = next((rule for rule in self.rules if rule.covers(registered_at)), None)
        if rule is None:
            return _skip(RewardReason.NO_ACTIVE_RULE)
        if cap := self.tally.refusal(rule, inviter_id, registered_at):
            return _skip(cap, rule)
        return self.standing.grant_or_hold(
            inviter_id, invitee_id, rule, rule.release_at(registered_at)
        )


def _skip(reason: RewardReason, rule: RewardRule | None = None) -> Verdict:
    return Verdict(outcome=RewardOutcome.SKIPPED, reason=reason, rule=rule)
