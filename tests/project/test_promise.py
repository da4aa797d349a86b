"""The sign-up of an invited person names who invites, and promises what really holds."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

import codes
from accounts.models import REFERRAL_CODE_LENGTH, User
from points.rewards import RewardDecision, RewardRule
from tests.accounts.conftest import PASSWORD, close, flag
from tests.coupons.factories import make_campaign
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

SIGN_UP = "/accounts/signup/"
UNUSABLE = "This invitation can't be used."
FILLED_IN = "The invitation code is filled in below."


@pytest.fixture
def mei() -> User:
    """Return somebody who invites others and says her name."""
    mei = make_person()
    User.objects.filter(pk=mei.pk).update(display_name="Mei")
    return mei


@pytest.fixture
def rule() -> RewardRule:
    """Return a rule by which inviting brings 100 points."""
    return RewardRule.objects.create(version=1, points=100)


@pytest.fixture
def limited(settings: Settings) -> Iterator[None]:
    """Count codes of nobody from zero, as outside of tests but sooner."""
    settings.ACCOUNT_RATE_LIMITS = {"invitation": "3/m/ip"}
    cache.clear()
    yield
    cache.clear()


def follow(client: Client, code: str, language: str = "en") -> str:
    """Follow an invite link and return the page it leads to, in one line."""
    headers = {"Accept-Language": language}
    answer = client.get(reverse("invite", args=[code]), follow=True, headers=headers)
    return " ".join(answer.content.decode().split())


def test_both_are_promised_what_they_get(client: Client, mei: User, rule: RewardRule) -> None:
    make_campaign(audience="all")
    make_campaign(audience="invited", basis_points=None, amount=500, currency="EUR", min_spend=2500)

    page = follow(client, mei.referral_code)

    assert "<bdi>Mei</bdi> invited you: you both get something." in page
    assert "<strong>5.00 EUR off</strong> <span>for orders of 25.00 EUR or more</span>" in page
    assert "For <bdi>Mei</bdi></dt> <dd><strong>100 points</strong>" in page
    assert mei.email not in page


def test_what_is_not_on_offer_is_not_promised(client: Client, mei: User) -> None:
    page = follow(client, mei.referral_code)

    assert "<bdi>Mei</bdi> invited you.</p>" in page
    assert "you both get" not in page
    assert "<dl>" not in page


def test_an_offer_alone_is_told(client: Client, mei: User) -> None:
    make_campaign()

    page = follow(client, mei.referral_code)

    assert "<bdi>Mei</bdi> invited you.</p>" in page
    assert "<strong>10% off</strong>" in page
    assert "For <bdi>Mei</bdi>" not in page


def test_who_gives_no_name_is_not_named(client: Client, rule: RewardRule) -> None:
    make_campaign()
    inviter = make_person()

    page = follow(client, inviter.referral_code)

    assert "You were invited: you both get something." in page
    assert "For whoever invited you" in page
    assert inviter.email.partition("@")[0] not in page


def test_rewards_that_the_inviter_cannot_get_are_not_promised(
    client: Client, mei: User, rule: RewardRule
) -> None:
    rule.cap_total = 1
    rule.save()
    RewardDecision.objects.create(
        rule_kind="referral",
        invitee=make_person(),
        inviter=mei,
        outcome="granted",
        rule=rule,
        points=100,
        occurred_at=timezone.now(),
    )

    assert "100 points" not in follow(client, mei.referral_code)


def test_an_ended_rule_promises_nothing(client: Client, mei: User, rule: RewardRule) -> None:
    rule.active_until = timezone.now() - timedelta(minutes=1)
    rule.active_from = timezone.now() - timedelta(days=1)
    rule.save()

    assert "points" not in follow(client, mei.referral_code)


def test_while_the_inviter_is_under_review_only_what_is_sure_is_promised(
    client: Client, mei: User, rule: RewardRule
) -> None:
    make_campaign(audience="invited")
    flag(mei)

    page = follow(client, mei.referral_code)

    assert "You were invited" in page
    assert "<bdi>Mei</bdi>" not in page
    assert "<dl>" not in page


def test_a_closed_inviter_is_not_named(client: Client, mei: User) -> None:
    close(mei)

    page = follow(client, mei.referral_code)

    assert UNUSABLE in page
    assert "Mei" not in page


def test_names_are_shown_as_text(client: Client, mei: User) -> None:
    User.objects.filter(pk=mei.pk).update(display_name="<b>Mei")

    assert "<bdi>&lt;b&gt;Mei</bdi>" in follow(client, mei.referral_code)


def test_whoever_takes_the_code_out_is_not_told_of_the_inviter(client: Client, mei: User) -> None:
    follow(client, mei.referral_code)
    typed = {"email": "jonas@example.com", "password1": "short"}

    kept = client.post(SIGN_UP, typed | {"referral_code": mei.referral_code.lower()})
    taken_out = client.post(SIGN_UP, typed | {"referral_code": ""})

    assert "</bdi> invited you" in kept.content.decode()
    assert "</bdi> invited you" not in taken_out.content.decode()


def test_guessing_codes_names_nobody(client: Client, mei: User, limited: None) -> None:
    for _ in range(3):
        assert UNUSABLE in follow(client, codes.generate(REFERRAL_CODE_LENGTH))

    guessed = follow(client, codes.generate(REFERRAL_CODE_LENGTH))
    right = follow(client, mei.referral_code)

    for page in (guessed, right):  # the same, whatever the code is
        assert "You were invited.</p>" in page
        assert FILLED_IN in page
        assert UNUSABLE not in page
    assert "Mei" not in right


def test_who_cannot_be_told_signs_up_all_the_same(client: Client, mei: User, limited: None) -> None:
    for _ in range(3):
        follow(client, codes.generate(REFERRAL_CODE_LENGTH))
    follow(client, mei.referral_code)

    client.post(
        SIGN_UP,
        {
            "email": "jonas@example.com",
            "password1": PASSWORD,
            "referral_code": mei.referral_code,
        },
    )

    assert User.objects.get(email="jonas@example.com").referral.inviter == mei


def test_mistyped_and_known_codes_do_not_count(client: Client, mei: User, limited: None) -> None:
    for _ in range(5):
        follow(client, "nonsense")
        follow(client, mei.referral_code)

    assert "</bdi> invited you" in follow(client, mei.referral_code)


def test_looking_at_an_invitation_writes_nothing(
    client: Client,
    mei: User,
    rule: RewardRule,
    limited: None,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_campaign()
    follow(client, mei.referral_code)

    with django_assert_num_queries(4) as queries:  # the limit, the inviter, campaigns, the rule
        client.get(SIGN_UP)

    assert not [q for q in queries if not q["sql"].lstrip().upper().startswith("SELECT")]


def test_the_wallet_says_what_invited_people_read(client: Client, mei: User) -> None:
    client.force_login(mei)
    named = client.get("/wallet/").content.decode()
    User.objects.filter(pk=mei.pk).update(display_name="")
    nameless = client.get("/wallet/").content.decode()

    assert "<bdi>Mei</bdi> invited you" in named
    assert "Add your name" in nameless
