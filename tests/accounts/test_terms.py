"""Which terms a person agreed to is written with the account, by page and API, and kept."""

from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.test import Client
from django.utils.translation import override
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from accounts import export, services, terms
from accounts.append_only import AppendOnly
from accounts.closing import CloseReason, close_account
from accounts.consents import Channel, Consent
from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register

pytestmark = pytest.mark.django_db

SIGN_UP = "/accounts/signup/"
REGISTRATIONS = "/api/v1/registrations/"
MY_TERMS = "/api/v1/me/terms/"
BODY = {"email": "mei@example.com", "password": PASSWORD}
FORM = {"email": "mei@example.com", "password1": PASSWORD, "referral_code": ""}


@pytest.fixture(autouse=True)
def version(settings: Settings) -> str:
    """Let a version of the terms count that is none of ours."""
    settings.TERMS_VERSION = "2026-11-26"
    return "2026-11-26"


def consents() -> list[tuple[str, str, str, str]]:
    """Return who agreed to what, where and in which language."""
    fields = ("user__email", "version", "channel", "language")
    return list(Consent.objects.order_by("pk").values_list(*fields))


def test_the_page_records_what_was_agreed_to(client: Client, verification: str) -> None:
    form = FORM | {"terms_version": "2026-11-26"}
    client.post(SIGN_UP, form, headers={"Accept-Language": "zh-hans"})

    assert consents() == [("mei@example.com", "2026-11-26", "page", "zh-hans")]


def test_the_api_records_what_was_agreed_to(api_client: APIClient, verification: str) -> None:
    answer = api_client.post(REGISTRATIONS, BODY | {"terms_version": "2026-11-26"})

    assert answer.status_code in {201, 202}
    assert consents() == [("mei@example.com", "2026-11-26", "api", "en")]


def test_a_sign_up_that_fails_leaves_no_consent(
    api_client: APIClient, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("after the consent")

    monkeypatch.setattr(services, "_publish", fail)
    with pytest.raises(RuntimeError):
        register(agreed=terms.Agreed(channel=Channel.PAGE))

    assert consents() == []
    assert not User.objects.exists()


def test_who_is_registered_by_others_has_agreed_to_nothing(register: Register) -> None:
    user = register().user

    assert consents() == []
    assert terms.are_to_be_agreed_to(user)


def test_the_page_says_what_the_button_means_and_links_to_it(client: Client) -> None:
    page = client.get(SIGN_UP).content.decode()

    assert "By signing up you agree to the <a" in page
    assert 'href="/terms/"' in page
    assert 'href="/privacy/"' in page
    assert 'name="terms_version" value="2026-11-26"' in page
    assert 'aria-describedby="agreement"' in page


def test_terms_that_changed_while_the_page_was_open_are_not_agreed_to(client: Client) -> None:
    answer = client.post(SIGN_UP, FORM | {"terms_version": "2025-01-01"})
    page = answer.content.decode()

    assert "The terms have changed while this page was open." in page
    assert 'value="mei@example.com"' in page
    assert 'name="terms_version" value="2026-11-26"' in page
    assert not User.objects.exists()


def test_a_program_that_showed_other_terms_is_told_which_count(api_client: APIClient) -> None:
    answer = api_client.post(REGISTRATIONS, BODY | {"terms_version": "2025-01-01"})

    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/terms_version", "terms_outdated")
    assert "2026-11-26" in error["detail"]
    assert not User.objects.exists()


@pytest.mark.parametrize("more", [{}, {"terms_version": ""}, {"terms_version": None}])
def test_a_program_that_says_nothing_of_terms_registers_without_consent(
    api_client: APIClient, client: Client, more: dict[str, str | None]
) -> None:
    answer = api_client.post(REGISTRATIONS, BODY | more)
    client.force_login(User.objects.get())

    assert answer.status_code == 201
    assert consents() == []
    assert "Please agree to our terms" in client.get("/wallet/").content.decode()


def test_a_form_that_says_nothing_of_terms_registers_without_consent(client: Client) -> None:
    assert client.post(SIGN_UP, FORM).status_code == 302
    assert User.objects.exists()
    assert consents() == []


def test_a_click_that_does_not_say_which_terms_were_shown_agrees_to_nothing(
    client: Client, register: Register
) -> None:
    client.force_login(register().user)

    answer = client.post("/accounts/terms/", follow=True)

    assert "Please agree to our terms" in answer.content.decode()
    assert consents() == []


def test_a_repeated_registration_is_answered_as_before_whatever_counts_by_then(
    api_client: APIClient, settings: Settings
) -> None:
    body, headers = BODY | {"terms_version": "2026-11-26"}, {"Idempotency-Key": "one"}
    first = api_client.post(REGISTRATIONS, body, headers=headers)
    settings.TERMS_VERSION = "2027-01-01"

    again = api_client.post(REGISTRATIONS, body, headers=headers)

    assert (again.status_code, again.json()) == (201, first.json())
    assert len(consents()) == 1


def test_the_wallet_asks_for_new_terms_until_they_are_agreed_to(
    client: Client, register: Register, settings: Settings
) -> None:
    user = register(agreed=terms.Agreed(channel=Channel.PAGE)).user
    client.force_login(user)
    assert "Please agree to our terms" not in client.get("/wallet/").content.decode()

    settings.TERMS_VERSION = "2027-01-01"
    assert "Please agree to our terms" in client.get("/wallet/").content.decode()
    for _ in range(2):  # clicks
        client.post("/accounts/terms/", {"terms_version": "2027-01-01"})

    assert "Please agree to our terms" not in client.get("/wallet/").content.decode()
    assert [version for _, version, *_ in consents()] == ["2026-11-26", "2027-01-01"]


def test_other_terms_than_were_shown_are_not_agreed_to(client: Client, register: Register) -> None:
    client.force_login(register().user)

    answer = client.post("/accounts/terms/", {"terms_version": "2025-01-01"}, follow=True)

    assert "The terms have changed once more." in answer.content.decode()
    assert consents() == []


def test_staff_who_never_signed_up_are_asked_nothing(client: Client) -> None:
    staff = User.objects.create_superuser("staff@example.com", PASSWORD)

    assert not terms.are_to_be_agreed_to(staff)


def test_the_sample_is_put_to_nobody_who_has_an_account(
    register: Register, settings: Settings
) -> None:
    settings.TERMS_VERSION = terms.SAMPLE_VERSION

    assert not terms.are_to_be_agreed_to(register().user)


def test_agreeing_takes_a_login_and_a_form(client: Client, register: Register) -> None:
    assert client.post("/accounts/terms/").status_code == 302
    client.force_login(register().user)

    assert client.get("/accounts/terms/").status_code == 405
    assert consents() == []


def test_the_api_tells_the_terms_to_everybody(api_client: APIClient, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://usher.example"
    settings.PRIVACY_URL = "https://example.com/{language}/privacy"

    answer = api_client.get("/api/v1/terms/", headers={"Accept-Language": "zh-hans"})

    assert answer.json() == {
        "version": "2026-11-26",
        "terms_url": "https://usher.example/terms/",
        "privacy_url": "https://example.com/zh-hans/privacy",
    }


def test_a_person_agrees_over_the_api(api_client: APIClient, register: Register) -> None:
    api_client.force_authenticate(register().user)
    before = api_client.get(MY_TERMS).json()

    answers = [api_client.post(MY_TERMS, {"version": "2026-11-26"}) for _ in range(2)]
    refused = api_client.post(MY_TERMS, {"version": "2025-01-01"})

    assert before["agreed_version"] is None
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json() == api_client.get(MY_TERMS).json()
    assert answers[0].json()["agreed_version"] == "2026-11-26"
    (error,) = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/version", "terms_outdated")
    assert len(consents()) == 1


def test_consents_are_given_out_and_outlive_the_account(register: Register) -> None:
    user = register(agreed=terms.Agreed(channel=Channel.PAGE)).user
    given = export.export(user.pk)["consents"]

    close_account(user_id=user.pk, reason=CloseReason.REQUESTED)

    assert [(row["version"], row["channel"]) for row in given] == [("2026-11-26", "page")]
    assert [version for _, version, *_ in consents()] == ["2026-11-26"]


def test_a_consent_is_never_changed(register: Register) -> None:
    register(agreed=terms.Agreed(channel=Channel.PAGE))
    consent = Consent.objects.get()

    with pytest.raises(AppendOnly):
        consent.save()
    with pytest.raises(AppendOnly):
        consent.delete()


@pytest.mark.parametrize(
    ("path", "language", "heading"),
    [
        ("/terms/", "en", "<h1>Terms</h1>"),
        ("/terms/", "zh-hans", "<h1>使用条款</h1>"),
        ("/privacy/", "en", "<h1>Privacy notice</h1>"),
        ("/privacy/", "zh-hans", "<h1>隐私说明</h1>"),
    ],
)
def test_both_texts_are_there_in_each_language(
    client: Client,
    path: str,
    language: str,
    heading: str,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        page = client.get(path, headers={"Accept-Language": language}).content.decode()

    assert heading in page
    assert "2026-11-26" in page


def test_a_site_has_texts_of_its_own(client: Client, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "terms.zh-hans.html").write_text("<h1>我们的条款</h1>", encoding="utf-8")
    settings.TERMS_DIR = str(tmp_path)

    answer = client.get("/terms/", headers={"Accept-Language": "zh-hans"})

    assert "<h1>我们的条款</h1>" in answer.content.decode()


def test_a_site_has_pages_of_its_own(client: Client, settings: Settings) -> None:
    settings.TERMS_URL = "https://example.com/{language}/terms"

    page = client.get(SIGN_UP, headers={"Accept-Language": "zh-hans"}).content.decode()

    assert 'href="https://example.com/zh-hans/terms"' in page
    assert client.get("/terms/")["Location"] == "https://example.com/en/terms"
    with override("en"):
        assert terms.url_of(terms.Document.PRIVACY) == "/privacy/"


def found(*ids: str) -> list[CheckMessage]:
    """Return what the system checks find wrong with the terms."""
    messages = checks.run_checks(include_deployment_checks=True)
    return [message for message in messages if message.id in ids]


@pytest.mark.parametrize("version", ["", "a b", "x" * 41, "<b>"])
def test_a_version_that_is_none_is_found(settings: Settings, version: str) -> None:
    settings.TERMS_VERSION = version

    (message,) = found("accounts.E002")
    assert message.hint


def test_own_terms_under_the_sample_s_version_are_found(settings: Settings) -> None:
    settings.TERMS_VERSION, settings.TERMS_URL = "sample-1", "https://example.com/terms"

    assert found("accounts.E003")


@pytest.mark.parametrize("url", ["/terms", "javascript:alert(1)", "https://", "https://a/{lang}"])
def test_an_address_that_leads_nowhere_is_found(settings: Settings, url: str) -> None:
    settings.PRIVACY_URL = url

    (message,) = found("accounts.E004")
    assert "PRIVACY_URL" in message.msg


def test_production_links_to_terms_by_https(settings: Settings) -> None:
    settings.TERMS_URL = "http://example.com/{language}/terms"
    assert not found("accounts.E004")

    settings.PRODUCTION = True
    assert found("accounts.E004")


def test_each_missing_text_is_found(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "terms.en.html").write_text("<h1>Terms</h1>")
    (tmp_path / "terms.zh-hans.html").write_bytes(b"\xff")
    settings.TERMS_DIR, settings.PRIVACY_URL = str(tmp_path), "https://example.com/privacy"

    (message,) = found("accounts.E005")
    assert "terms.zh-hans.html" in message.msg


def test_a_deployment_is_told_that_it_shows_samples(settings: Settings) -> None:
    assert found("accounts.I001")

    settings.TERMS_URL = settings.PRIVACY_URL = "https://example.com/"
    assert not found("accounts.I001")
