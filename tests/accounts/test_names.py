"""The name that invited people read: voluntary, harmless, and gone with the account."""

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.test import Client
from rest_framework.test import APIClient

from accounts.closing import CloseReason, close_account
from accounts.export import export
from accounts.models import User
from accounts.names import clean_name, set_name, take_name_off
from tests.accounts.conftest import PASSWORD, close, flag

pytestmark = pytest.mark.django_db

NAME = "/api/v1/me/name/"


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Mei", "Mei"),
        ("  Mei\n Lin ", "Mei Lin"),
        ("美", "美"),
        ("e\u0301mile", "émile"),
        ("O’Neil-Smith", "O’Neil-Smith"),
        ("J. R.", "J. R."),
        ("นี้", "นี้"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("", ""),
        ("   ", ""),
        ("x" * 40, "x" * 40),
    ],
)
def test_names_are_taken_as_people_write_them(typed: str, stored: str) -> None:
    assert clean_name(typed) == stored


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("x" * 41, "name_too_long"),
        ("mei@example.com", "name_has_address"),
        ("Win at evil.example", "name_has_address"),
        ("https://x", "name_has_address"),
        ("www.evil", "name_has_address"),
        ("a/b", "name_has_address"),
        ("\u202eieM", "name_invisible"),
        ("Mei\x00", "name_invisible"),
        ("Mei\u200b", "name_invisible"),
        *((f"Mei{filler}", "name_invisible") for filler in "\u115f\u1160\u3164\uffa0"),
        ("\u3164", "name_invisible"),
        ("evil。example", "name_has_address"),
        ("evil．example", "name_has_address"),
        ("evil\u2024example", "name_has_address"),
        ("ｅｖｉｌ｡ｅｘａｍｐｌｅ", "name_has_address"),
        ("evil.\u200dexample", "name_has_address"),
        ("evil.e\ufe0fxample", "name_has_address"),
        ("mei＠example", "name_has_address"),
        ("a／b", "name_has_address"),
        ("x\u0335\u0335\u0335", "name_has_too_many_marks"),
        ("x\u0335\u200d\u0335\u0335", "name_has_too_many_marks"),
        ("123", "name_without_letter"),
        ("💥", "name_without_letter"),
    ],
)
def test_what_would_lead_strangers_astray_is_refused(typed: str, code: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        clean_name(typed)

    assert refusal.value.code == code


def test_a_person_sets_and_removes_the_name_on_a_page(client: Client, inviter: User) -> None:
    client.force_login(inviter)

    for typed in ["Mei", ""]:
        answer = client.post("/accounts/name/", {"display_name": typed})
        inviter.refresh_from_db()
        assert (answer.status_code, inviter.display_name) == (302, typed)


def test_a_refused_name_is_kept_to_be_mended(client: Client, inviter: User) -> None:
    client.force_login(inviter)

    page = client.post("/accounts/name/", {"display_name": "me@x.example"}).content.decode()

    assert 'value="me@x.example"' in page
    assert "A name has no addresses" in page
    assert not User.objects.exclude(display_name="").exists()


def test_the_page_is_for_whoever_is_logged_in(client: Client) -> None:
    assert client.get("/accounts/name/")["Location"].startswith("/accounts/login/")


def test_a_person_sets_the_name_over_the_api(api_client: APIClient, inviter: User) -> None:
    api_client.force_authenticate(inviter)

    answer = api_client.put(NAME, {"display_name": " Mei "})
    refused = api_client.put(NAME, {"display_name": "mei@example.com"})
    api_client.force_authenticate(User.objects.get())  # as the next request would

    assert answer.json() == api_client.get(NAME).json() == {"display_name": "Mei"}
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["pointer"]) == (400, "/display_name")
    assert error["code"] == "name_has_address"


def test_the_name_is_given_out_and_gone_with_the_account(inviter: User) -> None:
    set_name(user_id=inviter.pk, name="Mei")
    assert export(inviter.pk)["display_name"] == "Mei"

    close_account(user_id=inviter.pk, reason=CloseReason.REQUESTED)

    assert User.objects.get(pk=inviter.pk).display_name == ""


def test_a_closed_account_stays_nameless(inviter: User) -> None:
    close(inviter)

    set_name(user_id=inviter.pk, name="Mei")

    assert User.objects.get(pk=inviter.pk).display_name == ""


def test_an_account_under_review_gets_no_name_but_may_take_its_own_off(
    client: Client, api_client: APIClient, inviter: User
) -> None:
    set_name(user_id=inviter.pk, name="Mei")
    flag(inviter)
    client.force_login(inviter)
    api_client.force_authenticate(inviter)

    page = client.post("/accounts/name/", {"display_name": "Boss"}).content.decode()
    (error,) = api_client.put(NAME, {"display_name": "Boss"}).json()["errors"]

    assert "While your account is under review" in page
    assert (error["pointer"], error["code"]) == ("/display_name", "name_under_review")
    assert User.objects.get(pk=inviter.pk).display_name == "Mei"
    assert set_name(user_id=inviter.pk, name="") == ""
    assert User.objects.get(pk=inviter.pk).display_name == ""


def test_the_name_of_an_account_under_review_is_shown_to_nobody(
    client: Client, inviter: User
) -> None:
    set_name(user_id=inviter.pk, name="Mei Lin")
    link = f"/i/{inviter.referral_code}/"
    assert "Mei Lin" in client.get(link, follow=True).content.decode()

    flag(inviter)

    assert "Mei Lin" not in client.get(link, follow=True).content.decode()


def by_staff(action: str, person: User) -> None:
    """Let a superuser do something to an account, in the admin."""
    staff = User.objects.filter(is_superuser=True).first()
    browser = Client()
    browser.force_login(staff or User.objects.create_superuser("admin@example.com", PASSWORD))
    asked = {"action": action, "_selected_action": [str(person.pk)], "reason": "Passes for a bank."}
    browser.post("/admin/accounts/user/", asked)


def test_a_name_that_staff_took_off_stays_off_on_pages_and_over_the_api(
    client: Client, api_client: APIClient, inviter: User
) -> None:
    set_name(user_id=inviter.pk, name="Bank")
    by_staff("take_name_off", inviter)
    client.force_login(inviter)
    api_client.force_authenticate(inviter)

    asked = client.get("/accounts/name/").content.decode()
    page = client.post("/accounts/name/", {"display_name": "Bank 2"}).content.decode()
    (error,) = api_client.put(NAME, {"display_name": "Bank 2"}).json()["errors"]

    assert "Your name was taken off by our staff" in asked
    assert "Your name was taken off by our staff" in page
    assert (error["pointer"], error["code"]) == ("/display_name", "name_taken_off")
    assert User.objects.get(pk=inviter.pk).display_name == ""
    assert api_client.put(NAME, {"display_name": ""}).status_code == 200


def test_staff_allow_a_name_again(client: Client, inviter: User) -> None:
    set_name(user_id=inviter.pk, name="Bank")
    by_staff("take_name_off", inviter)

    by_staff("allow_name", inviter)

    set_name(user_id=inviter.pk, name="Mei")
    assert User.objects.get(pk=inviter.pk).display_name == "Mei"
    said = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(said) == [
        "Take the name off: Passes for a bank.",
        "Allow a name again: Passes for a bank.",
    ]


def test_there_is_nothing_to_take_off_or_allow_twice(inviter: User) -> None:
    by_staff("allow_name", inviter)
    by_staff("take_name_off", inviter)

    assert not User.objects.get(pk=inviter.pk).is_name_taken_off
    assert not LogEntry.objects.exists()


def test_a_name_that_was_given_meanwhile_is_taken_off_for_good(inviter: User) -> None:
    set_name(user_id=inviter.pk, name="Bank")

    assert take_name_off(user_id=inviter.pk)
    assert not take_name_off(user_id=inviter.pk)

    with pytest.raises(ValidationError) as refusal:
        set_name(user_id=inviter.pk, name="Bank")
    assert refusal.value.code == "name_taken_off"
    assert export(inviter.pk)["is_name_taken_off"] is True


def test_staff_s_reason_for_taking_a_name_off_is_kept(client: Client, inviter: User) -> None:
    set_name(user_id=inviter.pk, name="Mei")
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))

    asked = {"action": "take_name_off", "_selected_action": [str(inviter.pk)]}
    client.post("/admin/accounts/user/", asked | {"reason": "Passes for a bank."})

    assert User.objects.get(pk=inviter.pk).display_name == ""
    assert LogEntry.objects.get().change_message == "Take the name off: Passes for a bank."
