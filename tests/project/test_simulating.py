"""What somebody would get, told rule by rule: it is what the receivers do, and writes nothing."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Referral, User
from coupons.models import Campaign, IssueDecision
from coupons.services import decide_registration_campaigns
from events.models import Event as EventRow
from points.models import PointsAccount, RewardDecision
from points.services import reward_inviters
from project.read_only import WriteRefused, reading_only
from project.simulating import Simulation, find_account, simulate
from tests.coupons.factories import make_campaign, make_coupon, make_decision, publish_registration
from tests.points.factories import make_decision as make_reward_decision
from tests.points.factories import make_rule
from tests.registrations import close, flag, make_people, make_person, refer, registered

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def simulated(user: User, **given: Any) -> Simulation:
    """Simulate for an account that exists."""
    found = simulate(user.pk, **given)
    assert found is not None
    return found


def newcomer(inviter: User | None = None) -> User:
    """Return somebody whose registration is published, and not delivered yet."""
    person = make_person()
    if inviter:
        refer(person, inviter)
    publish_registration(person, inviter)
    return person


def answer(campaign: Campaign, user: User, **given: Any) -> tuple[str, str, str]:
    """Return outcome and reason, and the rule that was asked last."""
    [outlook] = simulated(user, campaign_id=campaign.pk, **given).coupons
    return outlook.outcome, outlook.reason, outlook.steps[-1].rule.name


def reward(user: User, **given: Any) -> tuple[str, str, str]:
    """Return the same of the inviter's reward."""
    outlook = simulated(user, **given).reward
    return outlook.outcome, outlook.reason, outlook.steps[-1].rule.name


# --- It is what is done ---------------------------------------------------------------------------

campaigns = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["draft", "active", "active", "paused", "ended", "archived"]),
        "audience": st.sampled_from(["all", "invited"]),
        "stock": st.sampled_from([None, 0, 3]),
        "starts": st.sampled_from([-7, -1, 1]),
        "ends": st.sampled_from([None, -2, 5]),
        "expired": st.booleans(),
        "was": st.sampled_from([None, "draft", "active", "paused"]),  # when the person registered
    }
)
people = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "active", "flagged", "closed"]),
        "is_returning": st.sampled_from([False, False, True]),
        "referral": st.sampled_from([None, "approved", "flagged", "voided"]),
        "inviter": st.sampled_from(["active", "active", "flagged", "closed"]),
        "registered": st.sampled_from([-5, -2, 0]),
    }
)
rules = st.fixed_dictionaries(
    {
        "cap_total": st.sampled_from([None, 1, 2]),
        "hold_days": st.sampled_from([0, 3]),
        "active_until": st.sampled_from([None, -3, 9]),
    }
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(terms=campaigns, person=people, rule=rules)
def test_what_is_simulated_is_what_the_receivers_decide(
    terms: dict[str, Any], person: dict[str, Any], rule: dict[str, Any]
) -> None:
    with transaction.atomic():
        now = timezone.now()
        campaign = campaign_of(terms, now)
        _rule_of(rule, now)
        inviter, invitee = _people_of(person)
        at = now + person["registered"] * DAY
        event = registered(invitee, inviter=inviter, at=at)
        _log(event, at)

        foreseen = simulated(invitee, campaign_id=campaign.pk)
        decide_registration_campaigns([event])
        reward_inviters([event])

        [coupon] = foreseen.coupons
        decided = IssueDecision.objects.filter(campaign=campaign, user=invitee).first()
        expected = ("nothing", None) if decided is None else (decided.outcome, decided.reason)
        assert coupon.outcome == expected[0]
        assert decided is None or coupon.reason == decided.reason
        rewarded = RewardDecision.objects.filter(invitee=invitee).first()
        known = (rewarded.outcome, rewarded.reason, rewarded.points) if rewarded else None
        told = (foreseen.reward.outcome, foreseen.reward.reason, foreseen.reward.points)
        assert told == (known or ("nothing", "not_invited", 0))
        transaction.set_rollback(True)


def campaign_of(terms: dict[str, Any], now: datetime) -> Campaign:
    """Return a campaign of a scenario, with another status at the time of the registration."""
    ends = None if terms["ends"] is None else now + terms["ends"] * DAY
    starts = min(now + terms["starts"] * DAY, ends - DAY) if ends else now + terms["starts"] * DAY
    validity: dict[str, Any] = {}
    if terms["expired"]:
        validity = {"valid_days": None, "valid_from": now - 20 * DAY, "valid_until": now - DAY}
    campaign = make_campaign(
        status=terms["was"] or terms["status"],
        audience=terms["audience"],
        stock=terms["stock"],
        starts_at=starts,
        ends_at=ends,
        **validity,
    )
    campaign.status_changes.update(changed_at=now - 30 * DAY)
    Campaign.objects.filter(pk=campaign.pk).update(status=terms["status"])
    if terms["was"] and terms["was"] != terms["status"]:
        campaign.status_changes.create(status=terms["status"], changed_at=now - DAY)
    return campaign


def _rule_of(rule: dict[str, Any], now: datetime) -> None:
    until = None if rule["active_until"] is None else now + rule["active_until"] * DAY
    made = make_rule(cap_total=rule["cap_total"], hold_days=rule["hold_days"], active_until=until)
    if rule["cap_total"] == 1:
        one, other = make_people(2)
        make_reward_decision(one, other, rule=made)


def _people_of(person: dict[str, Any]) -> tuple[User | None, User]:
    inviter, invitee = make_people(2)
    if person["referral"]:
        refer(invitee, inviter, person["referral"])
        make_reward_decision(inviter, make_person(), occurred_at=timezone.now() - DAY)
    User.objects.filter(pk=invitee.pk).update(is_returning=person["is_returning"])
    for user, status in ((invitee, person["status"]), (inviter, person["inviter"])):
        if status != "active":
            {"flagged": flag, "closed": close}[status](user)
    return (inviter if person["referral"] else None), invitee


def _log(event: Any, at: datetime) -> None:
    inviter_id = event.data.inviter_id and str(event.data.inviter_id)
    EventRow.objects.create(
        event_id=event.id,
        type=event.type,
        version=event.version,
        key=event.key,
        data={"user_id": event.key, "inviter_id": inviter_id},
        occurred_at=at,
        correlation_id="test",
    )


# --- Rule by rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, ("issued", "", "in_stock")),
        ({"status": "draft"}, ("nothing", "draft", "running")),
        ({"starts_at": timezone.now() + DAY}, ("nothing", "scheduled", "running")),
        ({"ends_at": timezone.now() - DAY}, ("nothing", "ended", "running")),
        ({"status": "archived"}, ("nothing", "archived", "running")),
        ({"status": "paused"}, ("skipped", "campaign_paused", "not_paused_then")),
        (
            {"status": "paused", "starts_at": timezone.now() + DAY},
            ("nothing", "scheduled", "running"),
        ),
        ({"audience": "invited"}, ("skipped", "not_invited", "invited")),
        ({"stock": 0}, ("skipped", "sold_out", "in_stock")),
        ({"trigger": "manual"}, ("issued", "", "in_stock")),
        ({"trigger": "manual", "status": "paused"}, ("nothing", "not_running", "issued_by_staff")),
    ],
)
def test_a_campaign_says_which_rule_decides(
    terms: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert answer(make_campaign(**terms), newcomer()) == expected


def test_what_was_decided_stays_unless_it_is_asked_afresh() -> None:
    campaign, person = make_campaign(), newcomer()
    coupon = make_coupon(campaign, person)

    assert answer(campaign, person) == ("decided", "", "undecided")
    assert answer(campaign, person, afresh=True) == ("issued", "", "in_stock")
    [outlook] = simulated(person).coupons
    assert outlook.decision == coupon.decision


def test_afresh_the_persons_own_coupon_and_reward_take_no_place() -> None:
    campaign = make_campaign(stock=1, issued_count=1)
    inviter = make_person()
    person, other = newcomer(inviter), newcomer(inviter)
    make_coupon(campaign, person)
    rule = make_rule(cap_total=1, cap_per_period=1, period_days=7)
    make_reward_decision(inviter, person, rule=rule)

    assert answer(campaign, person, afresh=True) == ("issued", "", "in_stock")
    assert reward(person, afresh=True) == ("granted", "", "due")
    assert answer(campaign, other, afresh=True) == ("skipped", "sold_out", "in_stock")
    assert reward(other, afresh=True) == ("skipped", "cap_total", "within_caps")


def test_a_campaign_that_began_later_is_for_those_who_register_afresh() -> None:
    person = newcomer()
    EventRow.objects.update(occurred_at=timezone.now() - 30 * DAY)
    campaign = make_campaign()

    assert answer(campaign, person) == ("nothing", "scheduled", "running")
    assert answer(campaign, person, afresh=True) == ("issued", "", "in_stock")


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (lambda inviter, invitee: None, ("granted", "", "due")),
        (lambda inviter, invitee: close(inviter), ("skipped", "inviter_closed", "inviter_open")),
        (lambda inviter, invitee: flag(inviter), ("pending", "inviter_flagged", "inviter_cleared")),
        (lambda inviter, invitee: flag(invitee), ("pending", "invitee_flagged", "invitee_cleared")),
        (
            lambda inviter, invitee: Referral.objects.update(status="voided"),
            ("voided", "referral_voided", "invitation_counts"),
        ),
        (
            lambda inviter, invitee: make_reward_decision(inviter, invitee),
            ("decided", "", "undecided"),
        ),
        (
            lambda inviter, invitee: make_reward_decision(inviter, make_person()),
            ("skipped", "cap_total", "within_caps"),
        ),
    ],
)
def test_a_reward_says_which_rule_decides(
    trouble: Callable[[User, User], object], expected: tuple[str, str, str]
) -> None:
    make_rule(cap_total=1)
    inviter = make_person()
    invitee = newcomer(inviter)

    trouble(inviter, invitee)

    assert reward(invitee) == expected


def test_who_was_not_invited_brings_nobody_a_reward_and_a_rule_must_be_active() -> None:
    assert reward(newcomer()) == ("nothing", "not_invited", "invited")
    assert reward(newcomer(make_person())) == ("skipped", "no_active_rule", "rule_active")


def test_who_has_not_completed_the_sign_up_is_taken_to_register_now() -> None:
    campaign, inviter = make_campaign(audience="invited"), make_person()
    person = make_person()
    Referral.objects.create(invitee=person, inviter=inviter, code_used=inviter.referral_code)

    simulation = simulated(person, campaign_id=campaign.pk)

    assert simulation.afresh
    assert simulation.coupons[0].outcome == "issued"
    assert simulation.reward.inviter_id == inviter.pk


def test_without_a_campaign_all_are_asked_that_run_or_ran_then() -> None:
    person = newcomer()
    running = {
        make_campaign().pk,
        make_campaign(trigger="manual").pk,
        make_campaign(starts_at=timezone.now() + DAY).pk,
        make_campaign(status="paused").pk,
    }
    for over in ({"status": "draft"}, {"status": "ended"}, {"ends_at": timezone.now() - DAY}):
        make_campaign(**over)
    ended_since = make_campaign()
    ended_since.status = "ended"
    ended_since.save()

    assert {each.campaign.pk for each in simulated(person).coupons} == running | {ended_since.pk}


def test_campaigns_that_decide_registrations_come_first_and_what_is_cut_is_told(
    monkeypatch: pytest.MonkeyPatch, staff: Client
) -> None:
    monkeypatch.setattr("coupons.simulating.MAX_CAMPAIGNS", 2)
    person = newcomer()
    welcome = make_campaign(starts_at=timezone.now() - 30 * DAY)
    for _ in range(3):  # drafts when the person registered, and ended since: nobody asks these
        other = make_campaign(status="draft")
        other.status = "ended"
        Campaign.objects.filter(pk=other.pk).update(status="ended")
        other.status_changes.create(status="ended", changed_at=timezone.now() + DAY)
    by_staff = make_campaign(trigger="manual")

    whole = simulated(person)
    assert ([each.campaign for each in whole.coupons], whole.are_more) == (
        [welcome, by_staff],
        False,
    )
    make_campaign(trigger="manual")
    cut = simulated(person)
    assert (cut.coupons[0].campaign, len(cut.coupons), cut.are_more) == (welcome, 2, True)
    assert "There are more campaigns" in run("--user", str(person.pk))
    told = staff.get(reverse("simulate-person", args=[person.pk])).content.decode()
    assert "There are more campaigns" in told
    [named] = simulated(person, campaign_id=other.pk).coupons
    assert named.campaign == other


# --- Nothing is written ---------------------------------------------------------------------------


def test_nothing_is_written_and_the_queries_do_not_grow_with_the_campaigns() -> None:
    make_rule(cap_total=5, cap_per_period=2, period_days=7)
    person = newcomer(make_person())
    make_decision(make_campaign(), person)
    with CaptureQueriesContext(connection) as few:
        simulated(person)
    for _ in range(5):
        make_campaign(stock=1)
        make_decision(make_campaign(), person)
    with CaptureQueriesContext(connection) as many:
        simulated(person)

    assert len(few) == len(many) <= 14
    assert all(query["sql"].startswith("SELECT ") for query in many)
    assert not PointsAccount.objects.exists()
    assert IssueDecision.objects.count() == 6


@pytest.mark.parametrize(
    "write",
    [
        lambda: Campaign.objects.update(name="x"),
        lambda: make_campaign(),
        lambda: list(User.objects.raw("SELECT * FROM accounts_user FOR UPDATE")),
    ],
)
def test_a_block_that_only_reads_refuses_the_rest(write: Callable[[], object]) -> None:
    with pytest.raises(WriteRefused), transaction.atomic(), reading_only():
        write()


# --- Finding, the command, the page ---------------------------------------------------------------


def test_people_are_found_by_address_id_and_code() -> None:
    person = make_person()
    coupon = make_coupon(make_campaign(), person)
    spelled = f"{coupon.code[:4]}-{coupon.code[4:]}".lower()

    for wanted in (f" {person.email.upper()} ", str(person.pk), person.referral_code, spelled):
        assert find_account(wanted) == person.pk, wanted
    for wanted in ("nobody@example.com", str(uuid4()), "ABCD", ""):
        assert find_account(wanted) is None, wanted


def run(*arguments: str) -> str:
    """Run the command; return what it prints."""
    out = StringIO()
    call_command("simulate", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_tells_rule_by_rule() -> None:
    make_rule(points=70)
    inviter = make_person()
    person = newcomer(inviter)
    make_campaign(name="Spring", stock=0)

    told = run("--user", person.email)

    assert "“Spring”" in told
    assert "No coupon would be issued: the campaign is sold out." in told
    assert "  yes  The account is open." in told
    assert "  NO   There is stock left." in told
    assert f"({inviter.pk}): The inviter would get 70 points." in told
    assert told.endswith("Nothing was written.\n")


def test_the_command_prints_json() -> None:
    person, campaign = newcomer(), make_campaign(status="paused")

    document = json.loads(run("--user", str(person.pk), "--campaign", str(campaign.pk), "--json"))

    [coupon] = document["campaigns"]
    assert document["user"] == str(person.pk)
    assert (coupon["outcome"], coupon["reason"]) == ("skipped", "campaign_paused")
    assert coupon["steps"] == [
        {"rule": "undecided", "holds": True},
        {"rule": "running", "holds": True},
        {"rule": "not_paused_then", "holds": False},
    ]
    assert document["reward"]["outcome"] == "nothing"
    assert person.email not in json.dumps(document)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--user", "nobody@example.com"], "There is no account"),
        (["--user", "x", "--campaign", str(uuid4())], "There is no campaign"),
    ],
)
def test_the_command_refuses_whom_it_does_not_know(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        run(*arguments)

    assert refusal.value.returncode == 2


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


def test_the_page_leads_to_the_answer_and_keeps_the_address_out_of_it(staff: Client) -> None:
    person, campaign = newcomer(), make_campaign(name="Spring", audience="invited")
    assert staff.get(reverse("simulate")).status_code == 200

    asked = staff.post(
        reverse("simulate"), {"wanted": person.email, "campaign": str(campaign.pk), "afresh": "on"}
    )
    told = staff.get(asked["Location"]).content.decode()

    place = reverse("simulate-person", args=[person.pk])
    assert asked["Location"] == f"{place}?campaign={campaign.pk}&afresh=1"
    assert "No coupon would be issued: the campaign is for invited people." in told
    assert "Nobody invited" not in told
    assert "Nothing would be decided: nobody invited this person." in told


def test_campaigns_and_accounts_lead_there(staff: Client) -> None:
    campaign, person = make_campaign(), newcomer()
    places = {
        reverse("admin:coupons_campaign_changelist"): reverse("simulate"),
        reverse("admin:coupons_campaign_change", args=[campaign.pk]): (
            f"{reverse('simulate')}?campaign={campaign.pk}"
        ),
        reverse("admin:accounts_user_change", args=[person.pk]): (
            reverse("simulate-person", args=[person.pk])
        ),
    }

    for page, place in places.items():
        assert f'href="{place}"' in staff.get(page).content.decode(), page
    asking = staff.get(reverse("simulate"), {"campaign": str(campaign.pk)}).content.decode()
    assert f'value="{campaign.pk}" selected' in asking


def test_who_may_not_see_accounts_finds_nobody_by_address(client: Client) -> None:
    clerk = User.objects.create_user("clerk@example.com", "pw", is_staff=True)
    rights = ["view_campaign", "view_issuedecision", "view_rewarddecision"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(clerk)
    person, place = newcomer(), reverse("simulate")

    known, unknown = (
        client.post(place, {"wanted": wanted}).context["form"].errors["wanted"]
        for wanted in (person.email, "nobody@example.com")
    )

    assert (
        known
        == unknown
        == ["You may not look people up by address. Ask for the account id or a code."]
    )
    assert "E-mail address" not in client.get(place).content.decode()
    for wanted in (str(person.pk), person.referral_code):
        assert client.post(place, {"wanted": wanted}).status_code == 302, wanted


def test_the_campaign_of_the_address_may_be_chosen_also_where_not_all_are_listed(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("project.simulating_page.LISTED", 1)
    named = make_campaign(trigger="manual")
    welcome = make_campaign(starts_at=timezone.now() - 9 * DAY)
    make_campaign(trigger="manual")

    asking = staff.get(reverse("simulate"), {"campaign": str(named.pk)})

    listed = [value for value, _name in asking.context["form"].fields["campaign"].choices]
    assert listed == ["", welcome.pk, named.pk]
    assert "Not all are listed." in asking.content.decode()
    given = {"wanted": str(newcomer().pk), "campaign": str(named.pk)}
    assert staff.post(reverse("simulate"), given).status_code == 302


def test_the_page_says_what_it_cannot_find(staff: Client) -> None:
    person = newcomer()
    asked = staff.post(reverse("simulate"), {"wanted": "nobody@example.com"})
    place = reverse("simulate-person", args=[person.pk])

    assert "Nobody has this address, id or code." in asked.content.decode()
    assert staff.get(reverse("simulate-person", args=[uuid4()])).status_code == 404
    assert staff.get(f"{place}?campaign=nonsense").status_code == 404
    assert staff.get(f"{place}?campaign={uuid4()}").status_code == 404
    assert "No campaign runs, or ran then." in staff.get(place).content.decode()
