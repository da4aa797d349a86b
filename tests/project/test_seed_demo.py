"""The demo data: complete, made once, and with a dead delivery that a replay mends."""

import json
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Model
from django.test import Client
from pytest_django import Settings

from accounts.models import Referral, User
from coupons.models import Campaign, Coupon, IssueDecision
from events.models import Attempt, Delivery, DeliveryState, Event
from events.operations.replay import replay
from events.operations.selection import Selection
from points.models import Entry, PointsAccount, RewardRule
from project import demo
from project.management.commands.dev import prepare_login
from tests.conftest import Drain

pytestmark = pytest.mark.django_db

TABLES: list[type[Model]] = [
    User,
    Referral,
    Campaign,
    IssueDecision,
    Coupon,
    RewardRule,
    PointsAccount,
    Entry,
    Event,
    Delivery,
    Attempt,
]


def seed_demo(*arguments: str) -> Any:
    """Run the command and return its JSON document."""
    output = StringIO()
    call_command("seed_demo", "--json", *arguments, stdout=output)
    return json.loads(output.getvalue())


def counts() -> dict[str, int]:
    """Return how many rows each table has."""
    return {table.__name__: table._default_manager.count() for table in TABLES}


@pytest.fixture
def dead() -> Delivery:
    """Seed, and return the dead delivery."""
    seed_demo()
    return Delivery.objects.get(state=DeliveryState.DEAD)


def test_everything_is_made_and_delivered() -> None:
    document = seed_demo()

    assert document["existing"] == []
    assert len(document["created"]) == 4 + len(demo.PEOPLE) + 1
    open_states = set(Delivery.objects.values_list("state", flat=True)) - {DeliveryState.DONE}
    assert open_states == {DeliveryState.DEAD}
    assert PointsAccount.objects.get(user__email="mei@usher.test").balance == 200


def test_a_second_run_makes_nothing() -> None:
    seed_demo()
    before = counts()

    document = seed_demo()

    assert (document["created"], document["staff_password"]) == ([], None)
    assert counts() == before


def test_a_stopped_run_is_completed_by_the_next() -> None:
    demo.create_welcome_campaign()
    demo.create_reward_rule()

    document = seed_demo()

    assert len(document["existing"]) == 2
    assert Campaign.objects.filter(name=demo.WELCOME).count() == 1


def test_a_first_start_is_one_until_the_staff_login_is_made() -> None:
    assert demo.is_first_start()
    User.objects.create_user(demo.PEOPLE[0].email)
    assert demo.is_first_start()  # it was interrupted

    seed_demo()

    assert not demo.is_first_start()


def test_somebody_else_s_database_is_no_first_start() -> None:
    User.objects.create_user("somebody@example.com")

    assert not demo.is_first_start()


def test_a_dry_run_names_everything_and_writes_nothing() -> None:
    before = counts()

    document = seed_demo("--dry-run")

    assert counts() == before
    assert document["created"] == seed_demo()["created"]


def test_one_campaign_is_sold_out_and_says_so_to_the_late() -> None:
    seed_demo()

    campaign = Campaign.objects.get(name=demo.SOLD_OUT)

    assert campaign.stock == campaign.issued_count == 2
    assert campaign.decisions.filter(outcome="skipped", reason="sold_out").count() == 1


@pytest.mark.django_db(transaction=True)
def test_replaying_the_dead_delivery_issues_the_missing_coupons(
    dead: Delivery, drain: Drain
) -> None:
    coupons = Coupon.objects.filter(user=UUID(dead.key))
    before = set(coupons.values_list("campaign__name", flat=True))

    replay(Selection(event_id=dead.event.event_id))
    drain()

    dead.refresh_from_db()
    assert before == set()
    assert dead.state == DeliveryState.DONE
    assert set(coupons.values_list("campaign__name", flat=True)) == {demo.WELCOME, demo.INVITED}


def test_the_dead_delivery_tells_its_failure(dead: Delivery) -> None:
    attempt = dead.failures.get()

    assert attempt.number == dead.attempts == 1
    assert attempt.fingerprint == dead.fingerprint != ""
    assert attempt.error_class == "events.retry.PermanentFailure"


def test_the_staff_password_is_the_one_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", "given by the test")

    document = seed_demo()

    staff = User.objects.get(email=demo.STAFF_EMAIL)
    assert document["staff_password"] is None
    assert staff.is_staff
    assert staff.check_password("given by the test")


def test_the_staff_login_gets_another_password() -> None:
    seed_demo()

    demo.set_staff_password("another one")

    assert User.objects.get(email=demo.STAFF_EMAIL).check_password("another one")


def test_the_staff_login_is_made_where_it_is_missing() -> None:
    User.objects.create_user("somebody@example.com")
    assert not demo.has_staff_login()

    demo.set_staff_password("given by the test")

    staff = User.objects.get(email=demo.STAFF_EMAIL)
    assert staff.is_superuser
    assert staff.check_password("given by the test")
    assert demo.has_staff_login()


@pytest.mark.parametrize(
    ("given", "told", "promised"),
    [("secret", "password as in DEMO_ADMIN_PASSWORD", True), ("", "createsuperuser", False)],
)
def test_a_start_on_somebody_else_s_database_promises_only_a_login_that_exists(
    given: str, told: str, promised: bool
) -> None:
    User.objects.create_user("somebody@example.com")

    login = prepare_login(given)

    assert told in login
    assert (demo.STAFF_EMAIL in login) is promised is demo.has_staff_login()
    assert not Campaign.objects.exists()


def test_every_start_sets_the_staff_password_that_is_given() -> None:
    prepare_login("at first")
    for password in ("later", "latest"):
        login = prepare_login(password)
        staff = User.objects.get(email=demo.STAFF_EMAIL)
        assert staff.check_password(password)
        assert login.endswith("password as in DEMO_ADMIN_PASSWORD")

    assert "changepassword" in prepare_login("")


def test_the_same_staff_password_again_logs_nobody_out(client: Client) -> None:
    prepare_login("the same")
    client.force_login(User.objects.get(email=demo.STAFF_EMAIL))

    prepare_login("the same")

    assert client.get("/admin/").status_code == 200


def test_somebody_who_took_the_address_is_no_staff_login() -> None:
    User.objects.create_user(demo.STAFF_EMAIL)

    assert not demo.has_staff_login()


def test_a_generated_staff_password_is_told_once() -> None:
    password = seed_demo()["staff_password"]

    assert User.objects.get(email=demo.STAFF_EMAIL).check_password(password)


def test_people_are_complete_where_addresses_must_be_confirmed(settings: Settings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"

    seed_demo()

    people = User.objects.filter(email__in=[person.email for person in demo.PEOPLE])
    assert people.exclude(registered_at=None).count() == len(demo.PEOPLE)
    assert Delivery.objects.filter(state=DeliveryState.DEAD).count() == 1


def test_production_is_refused(settings: Settings) -> None:
    settings.PRODUCTION = True

    with pytest.raises(CommandError):
        seed_demo()

    assert not User.objects.exists()
