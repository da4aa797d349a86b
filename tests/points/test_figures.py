"""What inviting came to in a period: invited, registered, rewarded, beside a drawing."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Referral, User
from periods import Period
from points.figures import Figures, figures_of
from points.funnel import InviteFunnel
from points.funnel_steps import FunnelStep
from tests.points.factories import make_decision, make_rule
from tests.reconciling import statements
from tests.registrations import id_made_at, make_person

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TODAY = date(2026, 11, 26)


def invite(inviter: User, moment: datetime, *, complete: bool = True) -> User:
    """Let somebody have signed up through an invitation, and have completed it or not."""
    person = User.objects.create(
        pk=id_made_at(moment), email=f"{uuid4()}@example.com", password="!"
    )
    Referral.objects.create(
        invitee=person, inviter=inviter, code_used=inviter.referral_code, created_at=moment
    )
    if complete:
        make_decision(inviter, person, occurred_at=moment)
    return person


def happen(inviter: User, kind: str, day: date, points: int = 0) -> None:
    """Let something have come of an invitation."""
    FunnelStep.objects.create(event_id=uuid4(), inviter=inviter, kind=kind, day=day, points=points)


@pytest.fixture
def inviter() -> User:
    """Return who invited three people on one day, one of whom is not confirmed, and one before."""
    make_rule()
    mei = make_person()
    invite(mei, NOON)
    invite(mei, NOON + timedelta(hours=11, minutes=59))
    invite(mei, NOON, complete=False)
    invite(mei, NOON - 100 * DAY)
    happen(mei, "rewarded", NOON.date(), 100)
    happen(mei, "refused", NOON.date())
    happen(mei, "rewarded", (NOON - 100 * DAY).date(), 100)
    happen(mei, "taken_back", TODAY, 100)
    return mei


def told(since: date | None, until: date) -> Figures:
    """Return the figures of a period."""
    return figures_of(Period(since=since, until=until))


def test_a_period_has_what_came_of_its_days(inviter: User) -> None:
    on_the_day = told(NOON.date(), NOON.date())
    ever = told(None, TODAY)

    assert on_the_day.invited == 3
    assert on_the_day.funnel == InviteFunnel(registered=2, rewarded=1, refused=1, points=100)
    assert ever.invited == 4
    assert ever.funnel == InviteFunnel(
        registered=3, rewarded=2, refused=1, taken_back=1, points=100
    )
    assert [each.invited for each in ever.days if each.invited] == [3]
    assert told(TODAY, TODAY).invited == 0


def test_three_queries_whatever_the_period(inviter: User) -> None:
    assert statements(lambda: told(TODAY, TODAY)) == 3
    assert statements(lambda: told(None, TODAY)) == 3


def test_the_page_shows_them_and_the_rules_lead_there(inviter: User, client: Client) -> None:
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    address = reverse("admin:points_rewardrule_figures")
    rule = make_rule(version=2, active_from=NOON - DAY, active_until=NOON + DAY)

    answer = client.get(address, {"since": "2026-11-20", "until": "2026-11-20"})
    form = client.get(reverse("admin:points_rewardrule_change", args=[rule.pk])).content.decode()

    assert [bar.count for bar in answer.context["bars"]] == [3, 2, 1]
    assert [bar.of_first for bar in answer.context["bars"]] == ["", "66.7%", "33.3%"]
    assert 'role="img"' in answer.content.decode()
    assert f'href="{address}?since=2026-11-19&amp;until=2026-11-21"' in form
    assert address in client.get(reverse("admin:points_rewardrule_changelist")).content.decode()
    assert client.get(address).context["period"].until == timezone.now().date()
