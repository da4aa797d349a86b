"""Campaigns of a file, made and changed: all of it or nothing.

The file is checked first, which takes some statements a line and locks nothing. Only then are its
campaigns locked, for as long as it takes to see that they are as they were, and to write.
"""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import construct_change_message
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils.translation import gettext as _

from coupons.campaign_file import FIELDS, Line
from coupons.campaigns import Campaign, CampaignStatusChange
from coupons.locking import lock_campaigns
from coupons.planning import Fate, Plan, Planned, Problem, named_in, plan, state_of

ATTEMPTS = 3  # a campaign changes rarely enough that a second is one too many
_WRITTEN = (*FIELDS, "translations")


def carry_out(lines: Sequence[Line], *, by: Any, shown: str | None = None) -> Plan:
    """Make and change the campaigns of a file, where it has no problem, and put it on record.

    The plan that is returned says what was done: nothing, where it has problems, or is not the one
    that was `shown`, by its digest. `by` is the member of staff whose doing it is.
    """
    made = Plan()
    for _attempt in range(ATTEMPTS):
        made = plan(lines)
        made.is_another = bool(made.changing) and shown not in {None, made.digest}
        if made.problems or made.is_another or not made.changing or _is_written(made, lines, by):
            return made
    sentence = _("Somebody else is changing these campaigns. Import the file again.")
    problem = Problem(line=made.changing[0].line, column="", code="changing", sentence=sentence)
    return Plan(problems=[problem])


@transaction.atomic
def _is_written(made: Plan, lines: Sequence[Line], by: Any) -> bool:
    """Write what a plan says, unless a campaign is not what it was when the plan was made."""
    entries = [_entry(row, by) for row in made.changing]
    kind = _wait_for_other_files()
    present = {campaign.pk: campaign for campaign in lock_campaigns(named_in(lines))}
    if {pk: state_of(campaign) for pk, campaign in present.items()} != made.states:
        return False
    changed = [row.campaign for row in made.changing if row.fate == Fate.CHANGED]
    if any(_is_used_up(campaign, present[campaign.pk]) for campaign in changed):
        return False
    for campaign in changed:  # past save(): no status changes, and nothing is issued
        values = {name: getattr(campaign, name) for name in _WRITTEN}
        Campaign.objects.filter(pk=campaign.pk).update(**values)
    _make([row.campaign for row in made.changing if row.fate == Fate.NEW])
    for entry in entries:
        entry.content_type = kind
    LogEntry.objects.bulk_create(entries)
    return True


def _wait_for_other_files() -> ContentType:
    """Let two files that bring the same new campaign in at once bring it in once."""
    kind = ContentType.objects.get_for_model(Campaign)
    return ContentType.objects.select_for_update(no_key=True).get(pk=kind.pk)


def _is_used_up(campaign: Campaign, present: Campaign) -> bool:
    """Tell whether more was issued meanwhile than the campaign shall have."""
    return campaign.stock is not None and campaign.stock < present.issued_count


def _make(campaigns: Sequence[Campaign]) -> None:
    """Insert campaigns, each with the status that it begins with."""
    Campaign.objects.bulk_create(campaigns)
    CampaignStatusChange.objects.bulk_create(
        CampaignStatusChange(campaign=campaign, status=campaign.status) for campaign in campaigns
    )


def _entry(row: Planned, by: Any) -> LogEntry:
    """Return what is put on record, in the words of the admin's form.

    `running.edits_of_when_and_for_whom` reads them.
    """
    is_new, form = row.fate == Fate.NEW, row.form
    words: Any = construct_change_message(form, [], is_new)  # type: ignore[arg-type]
    return LogEntry(
        user_id=by.pk,
        object_id=str(row.campaign.pk),
        object_repr=str(row.campaign)[:200],
        action_flag=ADDITION if is_new else CHANGE,
        change_message=json.dumps(words),
    )
