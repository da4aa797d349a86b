"""What a person would get from campaigns, and why not: what is decided, told rule by rule.

It asks what the receivers ask, and writes nothing. What was decided before stays, as it does there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrOrPromise

from coupons.bulk_issuing import require_running
from coupons.campaigns import Campaign, CampaignStatus, CampaignStatusChange, Trigger
from coupons.eligibility import case_by_staff, case_of_registration, people_by_id
from coupons.issuing import left_of
from coupons.locking import may_decide_registrations
from coupons.models import DecisionReason, IssueDecision, Outcome
from coupons.refusals import Refused
from coupons.rules import BY_STAFF, ISSUE, ON_REGISTRATION, NotRunning, Person, Verdict
from rulebook import Rule, Step, put, walk

MAX_CAMPAIGNS = 50
_BEGUN = (CampaignStatus.ACTIVE, CampaignStatus.PAUSED)

Answer: TypeAlias = Verdict | NotRunning | IssueDecision | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a person registered, or is taken to, and whether somebody had invited them."""

    at: datetime
    was_invited: bool
    afresh: bool = False  # as if nothing were decided so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one campaign would decide about a person."""

    campaign: Campaign
    steps: Sequence[Step[Any, Answer]]  # what was asked, up to what decides

    @property
    def answer(self) -> Answer:
        """What decides."""
        return self.steps[-1].verdict or ISSUE

    @property
    def outcome(self) -> str:
        """An Outcome; or "decided", where that was done before; or "nothing"."""
        if isinstance(self.answer, IssueDecision):
            return "decided"
        return self.answer.outcome.value if isinstance(self.answer, Verdict) else "nothing"

    @property
    def reason(self) -> str:
        """The code of why there is no coupon: empty where there would be one."""
        match self.answer:
            case NotRunning(status=status):
                return status.value
            case Refused(code=code):
                return code
            case Verdict(reason=reason) | IssueDecision(reason=reason):
                return str(reason)

    @property
    def sentence(self) -> StrOrPromise:
        """Why there is no coupon, in a few words."""
        match self.answer:
            case NotRunning(status=status):
                return status.label
            case Refused(sentence=sentence):
                return sentence
            case IssueDecision() as decision:
                return decision.get_reason_display()
            case Verdict(reason=reason):
                return DecisionReason(reason).label if reason else ""

    @property
    def decision(self) -> IssueDecision | None:
        """What was decided before."""
        return self.answer if isinstance(self.answer, IssueDecision) else None


def outlooks(
    *, user_id: UUID, moment: Moment, campaign_id: UUID | None = None
) -> tuple[list[Outlook], bool]:
    """Return what a campaign would decide about a person, or each that runs or ran at the moment.

    Also returns whether there are more than MAX_CAMPAIGNS, which are not asked. Campaigns that
    decide registrations come first.
    Call it for an account that exists. The number of queries does not grow with that of campaigns.
    """
    now = timezone.now()
    found = list(_campaigns(campaign_id, moment.at, now)[: MAX_CAMPAIGNS + 1])
    campaigns = found[:MAX_CAMPAIGNS]
    decisions = _decisions(user_id, campaigns)
    person = people_by_id([user_id])[user_id]
    asked = [
        Outlook(
            campaign=campaign,
            steps=list(_steps(campaign, person, moment, now, decisions.get(campaign.pk))),
        )
        for campaign in campaigns
    ]
    of_interest = [each for each in asked if campaign_id or _is_of_interest(each, now)]
    return of_interest, len(found) > MAX_CAMPAIGNS


def _campaigns(campaign_id: UUID | None, at: datetime, now: datetime) -> QuerySet[Campaign]:
    begun = Q(status__in=_BEGUN)
    runs = begun & (Q(ends_at__isnull=True) | Q(ends_at__gt=now))
    ran = may_decide_registrations(at, at) & (begun | Q(status_then__in=_BEGUN))
    campaigns = Campaign.objects.alias(status_then=_status_at(at)).filter(
        Q(pk=campaign_id) if campaign_id else runs | ran
    )
    on_registration = Q(trigger=Trigger.REGISTRATION)
    ordered = campaigns.order_by(_first(on_registration), _first(runs), "-starts_at", "-pk")
    return ordered.prefetch_related("status_changes")


def _status_at(at: datetime) -> Coalesce:
    """Return the expression of what `Campaign.status_at` tells, where the history is whole."""
    changes = CampaignStatusChange.objects.filter(campaign=OuterRef("pk")).values("status")
    latest = changes.filter(changed_at__lte=at).order_by("-changed_at", "-pk")
    return Coalesce(Subquery(latest[:1]), Subquery(changes.order_by("changed_at", "pk")[:1]))


def _first(which: Q) -> Case:
    """Return the expression that brings these to the beginning."""
    return Case(When(which, then=0), default=1)


def _is_of_interest(outlook: Outlook, now: datetime) -> bool:
    """Tell it from a campaign that neither runs nor ran then: the query finds some of these."""
    campaign = outlook.campaign
    has_begun = campaign.status in _BEGUN
    runs = has_begun and (campaign.ends_at is None or campaign.ends_at > now)
    return runs or not isinstance(outlook.answer, NotRunning)


def _decisions(user_id: UUID, campaigns: Sequence[Campaign]) -> dict[UUID, IssueDecision]:
    decisions = IssueDecision.objects.filter(user=user_id, campaign__in=campaigns)
    return {decision.campaign_id: decision for decision in decisions}


def _steps(
    campaign: Campaign,
    person: Person,
    moment: Moment,
    now: datetime,
    decision: IssueDecision | None,
) -> Iterator[Step[Any, Answer]]:
    """Yield what is asked, in the order of the receivers, up to what decides."""
    for part in (
        lambda: [] if moment.afresh else [put(_UNDECIDED, decision)],
        lambda: _rules(campaign, person, moment, now),
        lambda: [put(_IN_STOCK, _Stock(campaign, moment.afresh and _holds_one(decision)))],
    ):
        for step in part():
            yield step
            if step.verdict is not None:
                return


def _rules(
    campaign: Campaign, person: Person, moment: Moment, now: datetime
) -> Iterator[Step[Any, Answer]]:
    if campaign.trigger == Trigger.REGISTRATION:
        case = case_of_registration(
            campaign, person, now, at=moment.at, was_invited=moment.was_invited
        )
        yield from walk(ON_REGISTRATION, case)
        return
    may_be_issued = put(_BY_STAFF, campaign)
    yield may_be_issued
    if may_be_issued.verdict is None:
        yield from walk(BY_STAFF, case_by_staff(campaign, person, now))


def _refusal(campaign: Campaign) -> Refused | None:
    try:
        require_running(campaign)
    except Refused as refusal:
        return refusal
    return None


@dataclass(frozen=True, slots=True)
class _Stock:
    """What a campaign has left, and whether the person holds one of it, which is taken as left."""

    campaign: Campaign
    gives_back: bool


def _holds_one(decision: IssueDecision | None) -> bool:
    return decision is not None and decision.outcome == Outcome.ISSUED


def _sold_out(stock: _Stock) -> Verdict | None:
    if stock.gives_back or left_of(stock.campaign, 1) > 0:
        return None
    return Verdict(Outcome.SKIPPED, DecisionReason.SOLD_OUT)


_UNDECIDED: Rule[IssueDecision | None, IssueDecision] = Rule(
    "undecided",
    _("The campaign has decided nothing about this person so far."),
    lambda known: known,
)
_BY_STAFF: Rule[Campaign, Refused] = Rule(
    "issued_by_staff", _("Staff can issue its coupons now."), _refusal
)
_IN_STOCK: Rule[_Stock, Verdict] = Rule("in_stock", _("There is stock left."), _sold_out)
