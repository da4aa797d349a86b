"""The second factor on pages: setting it up, logging in with it, staff, and what sessions keep."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from knox.models import AuthToken
from pytest_django import Settings

from accounts import services
from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.factors import (
    code_of,
    recovery_codes,
    set_up_app,
    set_up_passkey,
    wrong_code,
)
from tests.project.test_pages import assert_sound

pytestmark = pytest.mark.django_db

LOGIN = "/accounts/login/"
AUTHENTICATE = "/accounts/2fa/authenticate/"
ACTIVATE = "/accounts/2fa/totp/activate/"
CODES = "/accounts/2fa/recovery-codes/"


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody with a password and a confirmed address."""
    user = register(email="mei@example.com").user
    EmailAddress.objects.update(verified=True)
    return user


def log_in(client: Client, path: str = LOGIN) -> Any:
    """Log in with the password, on the page."""
    return client.post(path, {"login": "mei@example.com", "password": PASSWORD})


def reauthenticate(client: Client) -> None:
    """Type the password once more."""
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})


def sessions() -> str:
    """Return all that sessions hold, in clear."""
    return str([session.get_decoded() for session in Session.objects.all()])


def set_up(client: Client) -> str:
    """Set an app up on the page; return its secret."""
    reauthenticate(client)
    page = client.get(ACTIVATE).content.decode()
    found = re.search(r'<code class="key">(\w+)</code>', page)
    assert found
    answer = client.post(ACTIVATE, {"code": code_of(found[1])})
    assert answer["Location"] == CODES
    return found[1]


def test_setting_an_app_up_asks_for_the_password_and_shows_recovery_codes(
    client: Client, mei: User
) -> None:
    log_in(client)
    assert client.get(ACTIVATE)["Location"].startswith("/accounts/reauthenticate/")

    set_up(client)

    shown = client.get(CODES)
    assert_sound(shown)
    assert all(code in shown.content.decode() for code in recovery_codes(mei))


def test_while_it_is_set_up_no_session_holds_the_secret_in_clear(client: Client, mei: User) -> None:
    log_in(client)
    reauthenticate(client)
    page = client.get(ACTIVATE).content.decode()
    secret = re.findall(r'<code class="key">(\w+)</code>', page)[0]

    client.post(ACTIVATE, {"code": wrong_code(secret)})

    assert secret not in sessions()
    assert client.post(ACTIVATE, {"code": code_of(secret)})["Location"] == CODES


def test_an_address_must_be_confirmed_first(client: Client, mei: User) -> None:
    EmailAddress.objects.update(verified=False)
    log_in(client)

    answer = client.get(ACTIVATE, follow=True)

    assert answer.redirect_chain[-1][0] == reverse("mfa_index")
    assert "Confirm your e-mail address first" in answer.content.decode()


def test_a_login_asks_for_the_code_and_opens_nothing_before(client: Client, mei: User) -> None:
    secret = set_up_app(mei)

    answer = log_in(client, f"{LOGIN}?next=/accounts/")

    assert answer["Location"].startswith(AUTHENTICATE)
    assert client.get("/wallet/").status_code == 302
    assert_sound(client.get(AUTHENTICATE))
    answer = client.post(AUTHENTICATE, {"code": code_of(secret)})
    assert answer["Location"] == "/accounts/"
    assert client.get("/wallet/").status_code == 200


def test_a_login_that_stops_at_the_code_keeps_no_address(client: Client, mei: User) -> None:
    set_up_app(mei)

    log_in(client)

    assert "mei@example.com" not in sessions()


def test_a_code_that_a_page_took_is_taken_by_no_other(client: Client, mei: User) -> None:
    secret, other = set_up_app(mei), Client()
    log_in(client)
    log_in(other)
    code = code_of(secret)

    client.post(AUTHENTICATE, {"code": code})
    answer = other.post(AUTHENTICATE, {"code": code})

    assert "This code is not right, or it was used before." in answer.content.decode()
    assert other.get("/wallet/").status_code == 302


def test_a_recovery_code_stands_in_for_the_app(client: Client, mei: User) -> None:
    set_up_app(mei)
    log_in(client)

    client.post(AUTHENTICATE, {"code": recovery_codes(mei)[0]})

    assert client.get("/wallet/").status_code == 200


def test_wrong_codes_are_limited(client: Client, mei: User, settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}  # as outside of tests
    secret = set_up_app(mei)
    log_in(client)
    for _ in range(5):
        client.post(AUTHENTICATE, {"code": wrong_code(secret)})

    answer = client.post(AUTHENTICATE, {"code": code_of(secret)})

    assert "Too many failed attempts." in answer.content.decode()
    assert client.get("/wallet/").status_code == 302


def test_resetting_the_password_does_not_go_round_the_code(client: Client, mei: User) -> None:
    set_up_app(mei)
    key = f"{user_pk_to_url_str(mei)}-{default_token_generator.make_token(mei)}"
    form = client.get(f"/accounts/password/reset/key/{key}/")["Location"]

    client.post(form, {"password1": "another long one", "password2": "another long one"})

    assert client.get("/wallet/").status_code == 302
    assert Authenticator.objects.exists()


def test_strangers_who_ask_for_a_passkey_s_challenge_are_limited(settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "2/m/ip"}

    answers = [
        Client(headers={"X-Requested-With": "XMLHttpRequest"}).get("/accounts/2fa/webauthn/login/")
        for _ in range(3)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1]["Retry-After"]) > 0
    assert Session.objects.count() == 2


def test_turning_it_off_takes_the_recovery_codes_along(client: Client, mei: User) -> None:
    log_in(client)
    set_up(client)
    assert_sound(client.get("/accounts/2fa/totp/deactivate/"))

    client.post("/accounts/2fa/totp/deactivate/")

    assert not Authenticator.objects.exists()


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_all_pages_are_sound(client: Client, mei: User, language: str) -> None:
    log_in(client)
    password_page = client.get("/accounts/reauthenticate/", HTTP_ACCEPT_LANGUAGE=language)
    assert_sound(password_page, language)
    set_up(client)
    paths = ["/accounts/2fa/", CODES, f"{CODES}generate/", "/accounts/2fa/totp/deactivate/"]
    paths += ["/accounts/2fa/webauthn/", "/accounts/2fa/webauthn/add/", "/accounts/"]
    paths.append("/accounts/2fa/reauthenticate/")
    key = Authenticator(
        user=mei, type=Authenticator.Type.WEBAUTHN, data={"name": "Phone", "credential": {}}
    )
    Authenticator.objects.bulk_create([key])  # as if it had been there at the login
    rows = [f"/accounts/2fa/webauthn/keys/{key.pk}/{what}/" for what in ("edit", "remove")]

    for path in [*rows, *paths]:
        if path == "/accounts/2fa/webauthn/add/":
            key.delete()  # the others' page asks the row for its public key, which it lacks
        answer = client.get(path, HTTP_ACCEPT_LANGUAGE=language)
        assert answer.status_code == 200, path
        assert_sound(answer, language)


def test_recovery_codes_can_be_taken_along(client: Client, mei: User) -> None:
    log_in(client)
    set_up(client)

    answer = client.get(f"{CODES}download/")

    assert answer["Content-Disposition"] == 'attachment; filename="recovery-codes.txt"'
    assert all(code in answer.content.decode() for code in recovery_codes(mei))


def test_whoever_has_the_password_and_an_older_session_is_out_when_the_factor_is_turned_on(
    client: Client, mei: User
) -> None:
    attacker = Client()
    log_in(attacker)
    reauthenticate(attacker)
    log_in(client)

    set_up(client)

    assert attacker.get("/wallet/").status_code == 302
    assert client.get("/wallet/").status_code == 200


@pytest.mark.parametrize("required", ["optional", "required"])
def test_the_password_alone_does_not_open_what_the_factor_guards(
    client: Client, settings: Settings, required: str
) -> None:
    settings.STAFF_MFA = required
    mei = User.objects.create_superuser("mei@example.com", PASSWORD)
    set_up_app(mei)
    recovery_codes(mei)
    before = set(Authenticator.objects.values_list("pk", flat=True))
    client.force_login(mei)  # a session that nothing knows of

    answer = client.post("/accounts/reauthenticate/", {"password": PASSWORD})

    assert answer["Location"].startswith(reverse("mfa_reauthenticate"))
    changes = (f"{CODES}generate/", "/accounts/2fa/totp/deactivate/", "/accounts/2fa/webauthn/add/")
    answers = [client.get(path) for path in (CODES, f"{CODES}download/", *changes)]
    for answer in (*answers, *(client.post(path) for path in changes)):
        assert answer["Location"].startswith(reverse("mfa_reauthenticate"))
    assert set(Authenticator.objects.values_list("pk", flat=True)) == before
    assert client.get("/admin/").status_code == (302 if required == "required" else 200)


# --- Staff --------------------------------------------------------------------------------------


@pytest.fixture
def staff(settings: Settings) -> User:
    """Return a member of staff, of whom a second factor is required."""
    settings.STAFF_MFA = "required"
    return User.objects.create_superuser("mei@example.com", PASSWORD)


@pytest.mark.django_db(transaction=True)  # what is counted as passed follows the commit
def test_staff_without_a_factor_are_led_to_setting_it_up_and_then_let_in(
    client: Client, staff: User
) -> None:
    log_in(client)

    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0] == reverse("mfa_index")
    assert "Staff need two-step login here." in answer.content.decode()
    set_up(client)

    assert client.get("/admin/").status_code == 200


def test_staff_with_a_factor_are_asked_for_it_where_the_login_did_not(
    client: Client, staff: User
) -> None:
    secret = set_up_app(staff)
    client.force_login(staff)  # as if the session were older than the factor

    answer = client.get("/admin/coupons/campaign/", follow=True)
    path, query = answer.redirect_chain[-1][0].split("?")
    answer = client.post(f"{path}?{query}", {"code": code_of(secret)})

    assert path == reverse("mfa_reauthenticate")
    assert answer["Location"] == "/admin/coupons/campaign/"
    assert client.get("/admin/coupons/campaign/").status_code == 200


def test_staff_who_logged_in_with_it_are_not_asked_again(client: Client, staff: User) -> None:
    secret = set_up_app(staff)
    log_in(client)
    client.post(AUTHENTICATE, {"code": code_of(secret)})

    assert client.get("/admin/").status_code == 200


@pytest.mark.django_db(transaction=True)  # what is counted as passed follows the commit
def test_staff_who_turn_it_off_are_out_of_the_admin_until_they_have_one_again(
    client: Client, staff: User
) -> None:
    log_in(client)
    set_up(client)

    client.post("/accounts/2fa/totp/deactivate/")

    assert client.get("/admin/").status_code == 302
    assert client.get("/api/v1/me/").status_code == 401
    another = Authenticator(user=staff, type=Authenticator.Type.WEBAUTHN, data={})
    Authenticator.objects.bulk_create([another])  # which ends no session, as saving one does
    assert client.get("/admin/").status_code == 302


def test_nothing_of_the_admin_is_open_to_who_owes_the_factor(client: Client, staff: User) -> None:
    client.force_login(staff)

    credentials = {"username": "mei@example.com", "password": PASSWORD}
    assert client.post("/admin/login/", credentials).status_code == 302
    own = ("/admin/", "/admin/accounts/user/", "/admin/jsi18n/", "/admin/password_change/")
    ours = ("/admin/support/", "/admin/catalogue/", f"/admin/support/accounts/{staff.pk}/")
    for path in (*own, *ours):
        assert client.get(path).status_code == 302, path


def test_where_it_is_optional_staff_come_in_by_password(
    client: Client, staff: User, settings: Settings
) -> None:
    settings.STAFF_MFA = "optional"
    log_in(client)

    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("may", [True, False])
def test_support_takes_a_lost_factor_off_with_a_permission(
    client: Client, mei: User, may: bool
) -> None:
    set_up_app(mei)
    set_up_passkey(mei)
    finder = Client()  # of the device
    finder.force_login(mei)
    finder.get("/accounts/sessions/")
    services.issue_token(user=mei, passed_second_factor=True)
    support = User.objects.create_user("support@example.com", PASSWORD, is_staff=True)
    names = ["view_user", "change_user"] + (["reset_second_factor"] if may else [])
    support.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(support)

    client.post(
        "/admin/accounts/user/",
        {
            "action": "reset_second_factor",
            "_selected_action": [str(mei.pk)],
            "reason": "Passport seen.",
        },
    )

    assert Authenticator.objects.exists() is not may
    assert AuthToken.objects.exists() is not may
    assert finder.get("/wallet/").status_code == (302 if may else 200)
    kept = ["Take the second factor off: Passport seen."] if may else []
    assert list(LogEntry.objects.values_list("change_message", flat=True)) == kept


def test_staff_may_take_their_own_factor_off_and_see_the_page_after_it(client: Client) -> None:
    root = User.objects.create_superuser("root@example.com", PASSWORD)
    set_up_app(root)
    client.force_login(root)
    client.get("/accounts/sessions/")

    answer = client.post(
        "/admin/accounts/user/",
        {"action": "reset_second_factor", "_selected_action": [str(root.pk)], "reason": "Lost."},
        follow=True,
    )

    assert answer.status_code == 200
    assert not Authenticator.objects.exists()


def test_the_admin_shows_factors_and_no_secret(client: Client, mei: User) -> None:
    set_up_app(mei)
    client.force_login(User.objects.create_superuser("root@example.com", PASSWORD))
    row = Authenticator.objects.get()

    answer = client.get(f"/admin/mfa/authenticator/{row.pk}/change/")

    assert answer.status_code == 200
    assert row.data["secret"] not in answer.content.decode()
    assert client.post(f"/admin/mfa/authenticator/{row.pk}/delete/").status_code == 403
