"""The admin pages of points: all load, history cannot be edited, rules freeze."""

from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import models
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import reverse

from accounts.models import User
from points.models import Entry, PointsAccount, ProcessedEvent, RewardDecision, RewardRule
from tests.points.factories import make_account, make_decision, make_entry, make_rule
from tests.registrations import make_people

pytestmark = pytest.mark.django_db

HISTORY = [RewardDecision, PointsAccount, Entry, ProcessedEvent]


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


@pytest.fixture
def inviter() -> User:
    """Return somebody who was rewarded, with one row of everything."""
    make_rule()
    ProcessedEvent.objects.create(receiver="r", event_id="0" * 32)
    person, invitee = make_people(2)
    make_decision(person, invitee)
    make_entry(make_account(person))
    return person


def url(model: type[models.Model], page: str, *args: object) -> str:
    """Return the address of an admin page."""
    return reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_{page}", args=args)


def form_of(rule: RewardRule, **changed: object) -> dict[str, Any]:
    """Return what a browser sends for the form of a rule."""
    data = {
        **model_to_dict(rule),
        "active_from_0": f"{rule.active_from:%Y-%m-%d}",
        "active_from_1": f"{rule.active_from:%H:%M:%S}",
        **changed,
    }
    return {name: value for name, value in data.items() if value is not None}


@pytest.mark.parametrize("model", [RewardRule, *HISTORY])
def test_lists_and_rows_can_be_looked_at(
    staff: Client, inviter: User, model: type[models.Model]
) -> None:
    row = model._default_manager.get()

    assert staff.get(url(model, "changelist")).status_code == 200
    assert staff.get(url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", HISTORY)
def test_history_cannot_be_edited(staff: Client, inviter: User, model: type[models.Model]) -> None:
    row = model._default_manager.get()

    assert staff.post(url(model, "change", row.pk), {}).status_code == 403
    assert staff.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert staff.get(url(model, "add")).status_code == 403


def test_a_rule_is_made_and_changed(staff: Client) -> None:
    added = staff.post(url(RewardRule, "add"), form_of(RewardRule(version=1, points=100)))
    rule = RewardRule.objects.get()
    page = url(RewardRule, "change", rule.pk)
    changed = staff.post(page, form_of(rule, points=200))

    assert (added.status_code, changed.status_code) == (302, 302)
    assert RewardRule.objects.get().points == 200


def test_a_used_rule_can_be_ended_but_not_changed(staff: Client, inviter: User) -> None:
    rule = RewardRule.objects.get()
    end = {"active_until_0": "2999-01-01", "active_until_1": "00:00"}

    answer = staff.post(url(RewardRule, "change", rule.pk), form_of(rule, points=200, **end))

    assert answer.status_code == 302
    rule.refresh_from_db()
    assert (rule.points, rule.active_until is None) == (100, False)


def test_a_used_rule_that_would_end_before_it_starts_gets_a_sentence(
    staff: Client, inviter: User
) -> None:
    rule = RewardRule.objects.get()
    end = {"active_until_0": "2000-01-01", "active_until_1": "00:00"}

    answer = staff.post(url(RewardRule, "change", rule.pk), form_of(rule, **end))

    assert answer.status_code == 200
    assert answer.content.decode().count("A rule ends after it starts.") == 1


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"active_until_0": "2000-01-01", "active_until_1": "00:00"}, "A rule ends after it"),
        ({"active_from_0": "never", "active_until_0": "2000-01-01"}, "Enter a valid date."),
        ({"hold_days": 3651}, "Days are at most 3650."),
        ({"expires_days": 10**9}, "Days are at most 3650."),
        ({"cap_per_period": 1, "period_days": 10**9}, "Days are at most 3650."),
    ],
)
def test_an_unused_rule_that_breaks_a_rule_gets_a_sentence(
    staff: Client, changed: dict[str, object], sentence: str
) -> None:
    rule = make_rule()

    answer = staff.post(url(RewardRule, "change", rule.pk), form_of(rule, **changed))

    assert answer.status_code == 200
    assert answer.content.decode().count(sentence) == 1


def test_only_a_rule_that_was_never_used_can_be_deleted(staff: Client, inviter: User) -> None:
    used, unused = RewardRule.objects.get(), make_rule(version=2)

    for rule, status in ((used, 403), (unused, 302)):
        page = url(RewardRule, "delete", rule.pk)
        assert staff.post(page, {"post": "yes"}).status_code == status
    assert RewardRule.objects.get() == used


@pytest.mark.parametrize("model", [RewardDecision, PointsAccount, Entry])
def test_rows_are_found_by_id_user_and_address(
    staff: Client, inviter: User, model: type[models.Model]
) -> None:
    row = model._default_manager.get()
    other, invitee = make_people(2)
    make_decision(other, invitee)
    make_entry(make_account(other))

    for term in (row.pk, str(inviter.pk).upper(), f" {inviter.email.upper()} "):
        answer = staff.get(url(model, "changelist"), {"q": term})
        assert list(answer.context["cl"].result_list) == [row]
    nothing = staff.get(url(model, "changelist"), {"q": "nobody"})
    assert list(nothing.context["cl"].result_list) == []


@pytest.mark.parametrize(("term", "found"), [("0" * 32, 1), ("1" * 32, 0), ("nonsense", 0)])
def test_a_processed_event_is_found_by_id(
    staff: Client, inviter: User, term: str, found: int
) -> None:
    answer = staff.get(url(ProcessedEvent, "changelist"), {"q": term})

    assert len(answer.context["cl"].result_list) == found


@pytest.mark.parametrize("model", [RewardDecision, PointsAccount, Entry])
def test_a_list_costs_the_same_for_one_row_and_for_many(
    staff: Client, model: type[models.Model], django_assert_max_num_queries: Any
) -> None:
    make_rule()
    people = make_people(21)
    for inviter, invitee in pairwise(people):
        make_decision(inviter, invitee)
        make_entry(make_account(inviter))

    with django_assert_max_num_queries(7):
        staff.get(url(model, "changelist"))


def adjust_url(person: User) -> str:
    """Return the address of the page that adjusts somebody's points."""
    return reverse("admin:points_pointsaccount_adjust", args=[person.pk])


def test_points_are_adjusted_with_a_reason_once(staff: Client, inviter: User) -> None:
    PointsAccount.objects.update(balance=10, version=10_000)
    page = staff.get(adjust_url(inviter))
    sent = {"amount": "5", "reason": "goodwill", "key": page.context["form"]["key"].value()}
    assert adjust_url(inviter) in staff.get(url(PointsAccount, "change", inviter.pk)).text

    for _ in range(2):
        assert staff.post(adjust_url(inviter), sent).status_code == 302

    entry = Entry.objects.get(kind="adjust")
    assert (entry.amount, entry.reason, entry.balance_after) == (5, "goodwill", 15)
    assert entry.actor == User.objects.get(email="staff@example.com")
    assert LogEntry.objects.filter(change_message="Adjusted by +5: goodwill").exists()


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"amount": "-11", "reason": "mistake"}, "The account does not have enough points."),
        ({"amount": "0", "reason": "mistake"}, "Points are whole numbers"),
        ({"amount": "1", "reason": " "}, "This field is required."),
        ({"amount": "1e3", "reason": "mistake"}, "Enter a whole number."),
    ],
)
def test_a_bad_adjustment_gets_a_sentence(
    staff: Client, inviter: User, sent: dict[str, str], sentence: str
) -> None:
    PointsAccount.objects.update(balance=10, version=10_000)

    answer = staff.post(adjust_url(inviter), {"key": str(uuid4()), **sent})

    assert answer.status_code == 200
    assert answer.text.count(sentence) == 1
    assert not Entry.objects.filter(kind="adjust").exists()


def test_who_may_not_adjust_is_refused_and_sees_no_link(client: Client, inviter: User) -> None:
    person = User.objects.create_user("clerk@example.com", "pw", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="view_pointsaccount"))
    client.force_login(person)

    shown = client.get(url(PointsAccount, "change", inviter.pk))

    assert shown.status_code == 200
    assert adjust_url(inviter) not in shown.text
    assert client.get(adjust_url(inviter)).status_code == 403
    assert client.post(adjust_url(inviter), {"amount": "1", "reason": "x"}).status_code == 403


def test_nobodys_points_are_not_adjusted(staff: Client) -> None:
    assert staff.get(adjust_url(User(pk=uuid4()))).status_code == 404


def test_whoever_never_had_points_is_given_some_from_their_own_page(staff: Client) -> None:
    [person] = make_people(1)
    page = staff.get(adjust_url(person))
    sent = {"amount": "5", "reason": "goodwill", "key": page.context["form"]["key"].value()}
    assert adjust_url(person) in staff.get(url(User, "change", person.pk)).text

    answer = staff.post(adjust_url(person), sent)

    assert answer.status_code == 302
    assert PointsAccount.objects.get(pk=person.pk).balance == 5


def test_a_new_version_begins_with_the_terms_of_another(staff: Client, inviter: User) -> None:
    rule = RewardRule.objects.get()
    RewardRule.objects.filter(pk=rule.pk).update(hold_days=3, cap_total=7)
    chosen = {"action": "new_version", ACTION_CHECKBOX_NAME: [str(rule.pk)]}

    page = staff.post(url(RewardRule, "changelist"), chosen, follow=True)

    initial = page.context["adminform"].form
    terms = {name: initial[name].value() for name in ("version", "points", "hold_days")}
    assert {name: int(value) for name, value in terms.items()} == {
        "version": 2,
        "points": 100,
        "hold_days": 3,
    }
    assert initial["cap_total"].value() == "7"
    assert RewardRule.objects.count() == 1
