"""Whether an inviter is owed a reward for a new account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from accounts.queries import AccountSummary, ReferralSummary
from points.caps import Tally
from points.rewards import RewardOutcome, RewardReason, RewardRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An outcome with its reason, which is empty for a reward that is granted."""

    outcome: RewardOutcome
    reason: RewardReason | str = ""
    rule: RewardRule | None = None
    release_at: datetime | None = None  # when a held reward is due


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a batch of rewards is judged by."""

    now: datetime
    rules: Sequence[RewardRule]  # highest version first
    tally: Tally
    inviters: Mapping[UUID, AccountSummary]
    referrals: Mapping[UUID, ReferralSummary]  # by invitee

    def judge(self, *, inviter_id: UUID, invitee_id: UUID, registered_at: datetime) -> Verdict:
        """Return the verdict on one invitation.

        Rules and caps are those of the moment of registration, accounts are as they are now.
        """
        referral = self.referrals.get(invitee_id)
        if referral is not None and referral.status == "voided":
            return Verdict(outcome=RewardOutcome.VOIDED, reason=RewardReason.REFERRAL_VOIDED)
        if self.inviters[inviter_id].status == "closed":
            return _skip(RewardReason.INVITER_CLOSED)
        rule = next((rule for rule in self.rules if rule.covers(registered_at)), None)
        if rule is None:
            return _skip(RewardReason.NO_ACTIVE_RULE)
        if cap := self.tally.refusal(rule, inviter_id, registered_at):
            return _skip(cap, rule)
        flagged = referral is not None and referral.status != "approved"
        return self._grant_or_hold(rule, registered_at, flagged=flagged)

    def _grant_or_hold(
        self, rule: RewardRule, registered_at: datetime, *, flagged: bool
    ) -> Verdict:
        release_at = registered_at + timedelta(days=rule.hold_days)
        if not flagged and release_at <= self.now:
            return Verdict(outcome=RewardOutcome.GRANTED, rule=rule)
        return Verdict(
            outcome=RewardOutcome.PENDING,
            reason=RewardReason.REFERRAL_FLAGGED if flagged else RewardReason.HOLD_PERIOD,
            rule=rule,
            release_at=release_at if rule.hold_days else None,
        )


def _skip(reason: RewardReason, rule: RewardRule | None = None) -> Verdict:
    return Verdict(outcome=RewardOutcome.SKIPPED, reason=reason, rule=rule)
