"""What inviting people came to in a period: invited, registered, rewarded; and day by day."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date

from accounts.queries import sign_ups_by_invitation
from periods import DAY, EARLIEST, Period
from points.funnel import InviteFunnel, days_of_invites


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day in UTC."""

    day: date
    invited: int  # people who signed up through an invitation
    funnel: InviteFunnel


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of the invitations of a period."""

    invited: int
    funnel: InviteFunnel
    days: Sequence[Day]  # the latest of the period


def figures_of(period: Period) -> Figures:
    """Return what inviting came to, in three queries. Steps appear a moment after they happen."""
    since = period.since or EARLIEST
    invited = sign_ups_by_invitation(since, period.until)
    known = {
        each.day: each.funnel for each in days_of_invites(since=since, until=period.until + DAY)
    }
    total: Counter[str] = Counter()
    for funnel in known.values():
        total.update(asdict(funnel))
    return Figures(
        invited=sum(invited.values()),
        funnel=InviteFunnel(**total),
        days=[
            Day(day=day, invited=invited.get(day, 0), funnel=known.get(day, InviteFunnel()))
            for day in period.shown_days
        ],
    )
