"""Issue a manual campaign's coupons to a list of people: look first, then in the background."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from uuid_utils.compat import uuid7

from accounts.queries import accounts_by_id, ids_by_email
from coupons.bulk_issues import GIVEN_LENGTH, BulkIssue, BulkIssueRow, RowOutcome
from coupons.campaigns import Campaign, Trigger
from coupons.eligibility import Person, judge_manual, people_by_id
from coupons.issuing import Decided, allot, left_of, record
from coupons.locking import lock_campaigns
from coupons.models import IssueDecision, Outcome
from coupons.refusals import Refused
from coupons.signals import BulkIssueRequested, bulk_issue_requested
from coupons.states import EffectiveStatus, effective_status

MAX_LINES = 10_000
CHUNK = 100  # lines in one transaction: some tens of milliseconds of the campaign's row


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a list would lead to if it were worked off now."""

    total: int  # lines that are not empty
    will_be_issued: int
    sold_out: int  # would be issued, but there is no stock for them
    already_decided: int  # the campaign issued or refused them a coupon before
    flagged: int  # held until the account's, or the invitation's, review ends
    closed: int
    not_eligible: int  # for another reason, such as not having been invited
    repeated: int
    unknown: int


def preview(*, campaign_id: UUID, people: str) -> Preview:
    """Return what a list would lead to, one e-mail address or account id a line. No effect.

    Raises Refused (not_manual, not_running, no_lines, too_many_lines), Campaign.DoesNotExist.
    """
    campaign = require_running(Campaign.objects.get(pk=campaign_id))
    rows = _rows_of(people)
    counts = Counter(row.outcome for row in rows)
    user_ids = [row.user_id for row in rows if row.outcome == RowOutcome.OPEN and row.user_id]
    decided = _decided_users(campaign, user_ids)
    undecided = [user_id for user_id in user_ids if user_id not in decided]
    verdicts = _count_verdicts(campaign, people_by_id(undecided))
    wanted = verdicts[Outcome.ISSUED]
    issued = left_of(campaign, wanted)
    return Preview(
        total=len(rows),
        will_be_issued=issued,
        sold_out=wanted - issued,
        already_decided=len(decided),
        flagged=verdicts[Outcome.HELD],
        closed=verdicts[Outcome.VOIDED],
        not_eligible=verdicts[Outcome.SKIPPED],
        repeated=counts[RowOutcome.REPEATED],
        unknown=counts[RowOutcome.UNKNOWN],
    )


@transaction.atomic
def start(*, campaign_id: UUID, people: str, by: Any, key: UUID | None = None) -> BulkIssue:
    """Record the list and let it be worked off in the background. Raises Refused as `preview`.

    The same `key` again, for the same campaign, returns what the first call began.
    """
    campaign = require_running(Campaign.objects.get(pk=campaign_id))
    rows = _rows_of(people)
    bulk_issue, is_new = BulkIssue.objects.get_or_create(
        campaign=campaign, key=key or uuid7(), defaults={"requested_by": by, "total": len(rows)}
    )
    if not is_new:
        return bulk_issue
    for row in rows:
        row.bulk_issue = bulk_issue
    BulkIssueRow.objects.bulk_create(rows, batch_size=1000)
    bulk_issue_requested.publish(BulkIssueRequested(bulk_issue_id=bulk_issue.pk))
    return bulk_issue


def issue_next_chunk(*, bulk_issue_id: UUID, event_id: UUID) -> None:
    """Decide about the next lines, and ask for the rest by an event.

    Lines that were reached are never decided again, so that it may be stopped and repeated at any
    time. `event_id` is kept with the decisions. Call it inside transaction.atomic().
    """
    unfinished = BulkIssue.objects.select_for_update(no_key=True, of=("self",))
    bulk_issue = unfinished.filter(pk=bulk_issue_id, finished_at__isnull=True).first()
    if bulk_issue is None:
        return
    [campaign] = lock_campaigns(Q(pk=bulk_issue.campaign_id))
    rows = list(bulk_issue.rows.filter(outcome=RowOutcome.OPEN).order_by("line")[:CHUNK])
    _decide(campaign, rows, event_id)
    if len(rows) == CHUNK:
        bulk_issue_requested.publish(BulkIssueRequested(bulk_issue_id=bulk_issue_id))
    else:
        BulkIssue.objects.filter(pk=bulk_issue_id).update(finished_at=timezone.now())


def progress_of(bulk_issue: BulkIssue) -> dict[str, int]:
    """Return the numbers of lines by RowOutcome value; those not reached are under ""."""
    counts = bulk_issue.rows.order_by().values_list("outcome").annotate(Count("pk"))
    return dict(counts)


def require_running(campaign: Campaign) -> Campaign:
    """Return the campaign where staff may issue its coupons now.

    Raises Refused (not_manual, not_running).
    """
    if campaign.trigger != Trigger.MANUAL:
        raise Refused("not_manual", _("Coupons of this campaign are not issued by staff."))
    status = effective_status(campaign, at=timezone.now())
    if status not in {EffectiveStatus.LIVE, EffectiveStatus.SOLD_OUT}:
        sentence = _("This can't be done while the campaign is: %(status)s.")
        raise Refused("not_running", sentence % {"status": EffectiveStatus(status).label})
    return campaign


def _rows_of(people: str) -> list[BulkIssueRow]:
    """Return a row for each line that is not empty, unsaved: known, repeated or unknown."""
    text_only = people.replace("\x00", "")  # PostgreSQL has no text with a NUL in it
    lines = {number: text.strip() for number, text in enumerate(text_only.splitlines(), start=1)}
    lines = {number: text for number, text in lines.items() if text}
    if not lines:
        raise Refused("no_lines", _("Name at least one person, by e-mail address or id."))
    if len(lines) > MAX_LINES:
        sentence = _("A list has at most %(most)d lines; this one has %(count)d. Split it.")
        raise Refused("too_many_lines", sentence % {"most": MAX_LINES, "count": len(lines)})
    ids = _ids_of(set(lines.values()))
    seen: set[UUID] = set()
    return [_row(number, text, ids.get(text), seen) for number, text in lines.items()]


def _row(number: int, text: str, user_id: UUID | None, seen: set[UUID]) -> BulkIssueRow:
    if user_id is None:
        return BulkIssueRow(line=number, given=text[:GIVEN_LENGTH], outcome=RowOutcome.UNKNOWN)
    outcome = RowOutcome.REPEATED if user_id in seen else RowOutcome.OPEN
    seen.add(user_id)
    return BulkIssueRow(line=number, user_id=user_id, outcome=outcome)


def _ids_of(texts: Collection[str]) -> dict[str, UUID]:
    """Return the accounts that are meant, by the text that names them."""
    found = ids_by_email(text for text in texts if "@" in text)
    named = {text: user_id for text in texts if (user_id := _as_id(text))}
    known = accounts_by_id(named.values())
    return found | {text: user_id for text, user_id in named.items() if user_id in known}


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _decided_users(campaign: Campaign, user_ids: Collection[UUID]) -> set[UUID]:
    decisions = IssueDecision.objects.filter(campaign=campaign, user__in=user_ids)
    return set(decisions.values_list("user_id", flat=True))


def _count_verdicts(campaign: Campaign, people: Mapping[UUID, Person]) -> Counter[Outcome]:
    now = timezone.now()
    return Counter(judge_manual(campaign, person, now).outcome for person in people.values())


def _decide(campaign: Campaign, rows: Sequence[BulkIssueRow], event_id: UUID) -> None:
    """Decide about people whom the campaign has not decided about; note it on their lines."""
    user_ids = [row.user_id for row in rows if row.user_id]
    people = people_by_id(user_ids)  # after the lock: see services.decide_registration_campaigns
    known = _decided_users(campaign, user_ids)
    now = timezone.now()
    decided = {
        user_id: Decided(_decision(campaign, user_id, person, event_id, now))
        for user_id, person in people.items()
        if user_id not in known
    }
    ordered = [decided[user_id] for user_id in user_ids if user_id in decided]
    allot(campaign, ordered)
    record(ordered)
    for row in rows:
        pair = decided.get(row.user_id) if row.user_id else None
        row.outcome = pair.decision.outcome if pair else RowOutcome.ALREADY_DECIDED
        row.reason = pair.decision.reason if pair else ""
    _save_outcomes(rows)


def _decision(
    campaign: Campaign, user_id: UUID, person: Person, event_id: UUID, now: datetime
) -> IssueDecision:
    verdict = judge_manual(campaign, person, now)
    return IssueDecision(
        campaign=campaign,
        user_id=user_id,
        outcome=verdict.outcome,
        reason=verdict.reason,
        event_id=event_id,
        decided_at=now,
    )


def _save_outcomes(rows: Iterable[BulkIssueRow]) -> None:
    """Save the outcomes: one statement for each that occurs, a handful at most."""
    ids: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        ids[row.outcome, row.reason].append(row.pk)
    for (outcome, reason), of_rows in ids.items():
        BulkIssueRow.objects.filter(pk__in=of_rows).update(outcome=outcome, reason=reason)
