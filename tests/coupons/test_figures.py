"""A campaign's figures: of a period, in its time zone, drawn beside a table, in few queries."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from coupons.figures import figures_of
from coupons.funnel import Steps
from coupons.funnel_steps import FunnelStep
from coupons.models import Campaign
from periods import MAX_DAYS, Period
from tests.coupons.factories import make_campaign, make_decision
from tests.coupons.test_admin import url
from tests.reconciling import statements
from tests.registrations import id_made_at, make_person

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
TODAY = date(2026, 11, 26)


def decide(campaign: Campaign, moment: datetime, **given: Any) -> None:
    """Let a campaign have decided about somebody at a moment."""
    make_decision(campaign, make_person(), pk=id_made_at(moment), **given)


def happen(campaign: Campaign, kind: str, day: date, times: int = 1) -> None:
    """Let something have happened on a day."""
    FunnelStep.objects.bulk_create(
        FunnelStep(event_id=uuid4(), campaign=campaign, day=day, kind=kind) for _ in range(times)
    )


@pytest.fixture
def campaign() -> Campaign:
    """Return a campaign in Shanghai, with something on either side of its midnights."""
    made = make_campaign(time_zone="Asia/Shanghai")
    zone = ZoneInfo("Asia/Shanghai")
    for moment in (
        datetime(2026, 11, 20, 0, 0, tzinfo=zone),
        datetime(2026, 11, 20, 23, 59, 59, 999000, tzinfo=zone),
        datetime(2026, 11, 21, 0, 0, tzinfo=zone),
        datetime(2026, 8, 1, 12, 0, tzinfo=zone),
    ):
        decide(made, moment)
    happen(made, "issued", date(2026, 11, 20), 2)
    happen(made, "issued", date(2026, 8, 1))
    happen(made, "redeemed", date(2026, 11, 21), 2)
    happen(made, "rolled_back", date(2026, 11, 21))
    happen(made, "refused", date(2026, 11, 22))
    decide(make_campaign(), datetime(2026, 11, 20, 12, 0, tzinfo=zone))
    return made


def told(campaign: Campaign, since: date | None, until: date) -> tuple[int, Steps]:
    """Return how many were decided about in a period, and what happened."""
    figures = figures_of(campaign, Period(since=since, until=until))
    return figures.decided, figures.steps


def test_a_period_has_what_happened_on_its_days_in_the_campaigns_time_zone(
    campaign: Campaign,
) -> None:
    day, next_day = date(2026, 11, 20), date(2026, 11, 21)

    assert told(campaign, day, day) == (2, Steps(issued=2))
    assert told(campaign, next_day, next_day) == (1, Steps(redeemed=2, rolled_back=1))
    assert told(campaign, day, TODAY) == (
        3,
        Steps(issued=2, refused=1, redeemed=2, rolled_back=1),
    )
    assert told(campaign, None, TODAY)[0] == 4
    assert told(campaign, None, date(2026, 11, 19)) == (1, Steps(issued=1))


def test_each_day_has_its_own_and_the_latest_are_told(campaign: Campaign) -> None:
    days = figures_of(campaign, Period(since=None, until=TODAY)).days

    assert (len(days), days[-1].day) == (MAX_DAYS, TODAY)
    full = {each.day: each.decided for each in days if each.decided}
    assert full == {date(2026, 11, 20): 2, date(2026, 11, 21): 1}
    assert {each.day: each.steps.issued for each in days}[date(2026, 11, 20)] == 2
    assert sum(each.steps.issued for each in days) == 2


def test_days_follow_a_change_of_the_clock() -> None:
    campaign = make_campaign(time_zone="Europe/Berlin")
    # 25 October 2026 has 25 hours there: it ends at 23:00 UTC.
    for moment in ("2026-10-24T21:59:59", "2026-10-24T22:00", "2026-10-25T22:59:59"):
        decide(campaign, datetime.fromisoformat(moment).replace(tzinfo=UTC))

    days = figures_of(campaign, Period(since=date(2026, 10, 24), until=date(2026, 10, 25))).days

    assert [each.decided for each in days] == [1, 2]


def test_three_queries_whatever_the_period(campaign: Campaign) -> None:
    one, every = Period(since=TODAY, until=TODAY), Period(since=None, until=TODAY)

    assert statements(lambda: figures_of(campaign, one)) == 3
    assert statements(lambda: figures_of(campaign, every)) == 3


# --- The pages ------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


def page(campaign: Campaign) -> str:
    """Return the address of a campaign's figures."""
    return reverse("admin:coupons_campaign_figures", args=[campaign.pk])


def rows(html: str, table: str) -> Iterator[list[str]]:
    """Yield the texts of a table's rows, the head included."""
    [found] = re.findall(rf'<table class="{table}">.*?</table>', html, re.DOTALL)
    for row in re.findall(r"<tr.*?</tr>", found, re.DOTALL):
        cells = re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        yield [re.sub(r"<.*?>", "", cell, flags=re.DOTALL).strip() for cell in cells]


def test_the_page_has_a_bar_and_a_number_for_each_step(staff: Client, campaign: Campaign) -> None:
    html = staff.get(
        page(campaign), {"since": "2026-11-20", "until": "2026-11-21"}
    ).content.decode()

    assert list(rows(html, "funnel"))[1:] == [
        ["registered", "3", "", "", ""],
        ["issued", "2", "", "66.7%", "66.7%"],
        ["redeemed", "1", "", "33.3%", "50.0%"],
        ["refused", "0", "", "", ""],
        ["redemptions undone", "1", "", "", ""],
    ]
    assert list(rows(html, "by-day"))[1:] == [
        ["2026-11-21", "1", "0", "0", "2", "1"],
        ["2026-11-20", "2", "2", "0", "0", "0"],
    ]
    assert 'width="66.7"' in html
    assert "Asia/Shanghai" in html
    [drawing] = re.findall(r'<svg class="columns".*?</svg>', html, re.DOTALL)
    assert 'role="img"' in drawing
    assert "2026-11-20 to 2026-11-21; 2 at most on a day" in drawing
    assert drawing.count("<rect") == 3
    assert " style=" not in html


def test_without_a_period_the_last_thirty_days_are_shown(staff: Client) -> None:
    campaign = make_campaign()
    happen(campaign, "issued", timezone.now().date())
    happen(campaign, "issued", timezone.now().date() - 30 * DAY)

    answer = staff.get(page(campaign))

    assert [bar.count for bar in answer.context["bars"]] == [0, 1, 0]
    assert len(answer.context["days"]) == 30
    links = [query for _, query in answer.context["periods"]]
    assert [bar.count for bar in staff.get(page(campaign) + links[-1]).context["bars"]] == [0, 2, 0]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"since": "2026-11-20", "until": "2026-11-19"}, "The last day is before the first."),
        ({"since": "2999-01-01"}, "The last day is before the first."),
        ({"since": "yesterday"}, "Enter a valid date."),
        ({"until": "0001-01-01"}, "greater than or equal to"),
        ({"until": "9999-12-31"}, "less than or equal to"),
    ],
)
def test_a_period_that_is_none_gets_a_sentence(
    staff: Client, query: dict[str, str], sentence: str
) -> None:
    answer = staff.get(page(make_campaign()), query)

    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert len(answer.context["days"]) == 30


def test_the_campaigns_page_shows_its_funnel_from_the_beginning(
    staff: Client, campaign: Campaign
) -> None:
    html = staff.get(url(Campaign, "change", campaign.pk)).content.decode()

    assert ["issued", "3", "", "75.0%", "75.0%"] in list(rows(html, "funnel"))
    assert page(campaign) in html
    assert "registered" not in staff.get(url(Campaign, "add")).content.decode()


def test_a_campaign_by_staff_counts_who_was_named(staff: Client) -> None:
    answer = staff.get(page(make_campaign(trigger="manual")))

    assert str(answer.context["bars"][0].label) == "named by staff"
    assert "Nothing happened on these days." in answer.content.decode()


def test_figures_are_for_those_who_may_see_campaigns(client: Client) -> None:
    campaign = make_campaign()
    viewer = User.objects.create_user("viewer@example.com", "pw", is_staff=True)
    client.force_login(viewer)
    assert client.get(page(campaign)).status_code == 403

    viewer.user_permissions.add(Permission.objects.get(codename="view_campaign"))

    assert client.get(page(campaign)).status_code == 200
    assert client.post(page(campaign)).status_code == 405
    unknown = page(campaign).replace(str(campaign.pk), str(UUID(int=1)))
    assert client.get(unknown).status_code == 404
