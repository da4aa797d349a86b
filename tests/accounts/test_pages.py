"""The other account pages: each stands on its own feet, and the chains lead where they should."""

import re

import pytest
from allauth.account.models import EmailAddress
from django.contrib.messages import get_messages
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register, close

pytestmark = pytest.mark.django_db

NEW = "a newer long one"


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody with a password."""
    return register(email="mei@example.com").user


def assert_accessible(page: str) -> None:
    """Check what every page of forms owes everybody."""
    assert page.count("<h1") == 1
    assert re.search(r"<title>\s*\S", page)
    for field in re.findall(r"<input[^>]*>", page):
        if 'type="hidden"' in field:
            continue
        name = re.search(r'id="([^"]+)"', field)
        assert name, field
        assert f'for="{name[1]}"' in page


def without_tokens(page: bytes) -> bytes:
    """Return a page without what differs each time."""
    return re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", page)


@pytest.mark.parametrize(
    "path",
    [
        "signup",
        "login",
        "inactive",
        "confirm-email",
        "confirm-email/x",
        "password/reset",
        "password/reset/done",
        "password/reset/key/x-y",
        "password/reset/key/done",
    ],
)
def test_pages_for_everybody(client: Client, path: str) -> None:
    answer = client.get(f"/accounts/{path}/")

    assert answer.status_code == 200
    assert_accessible(answer.content.decode())
    assert not any("allauth/" in str(used.name) for used in answer.templates)


@pytest.mark.parametrize("path", ["logout", "password/change", "email", "reauthenticate"])
def test_pages_for_people_who_are_logged_in(client: Client, mei: User, path: str) -> None:
    client.force_login(mei)

    answer = client.get(f"/accounts/{path}/")

    assert answer.status_code == 200
    assert_accessible(answer.content.decode())
    assert not any("allauth/" in str(used.name) for used in answer.templates)


def test_a_person_without_a_password_can_choose_one(client: Client, mei: User) -> None:
    mei.set_unusable_password()
    mei.save()
    client.force_login(mei)

    page = client.get("/accounts/password/set/")

    assert page.status_code == 200
    assert_accessible(page.content.decode())


@pytest.mark.parametrize("spelled", ["mei@example.com", "MEI@EXAMPLE.COM", " mei@example.com "])
def test_logging_in_leads_to_the_wallet(client: Client, mei: User, spelled: str) -> None:
    answer = client.post("/accounts/login/", {"login": spelled, "password": PASSWORD})

    assert answer["Location"] == "/wallet/"
    assert client.session["_auth_user_id"] == str(mei.pk)


@pytest.mark.parametrize("login", ["mei@example.com", "nobody@example.com", "mei\x00", "\ufffd"])
def test_a_failed_login_is_told_in_one_way(client: Client, mei: User, login: str) -> None:
    answer = client.post("/accounts/login/", {"login": login, "password": "wrong"})

    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session
    assert "wrong" not in answer.content.decode()
    if "@" in login:
        assert "The e-mail address or the password is not right." in answer.content.decode()


def test_a_closed_account_cannot_log_in(client: Client, mei: User) -> None:
    close(mei)

    answer = client.post(
        "/accounts/login/", {"login": "mei@example.com", "password": PASSWORD}, follow=True
    )

    assert "Account not in use" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_logging_out_asks_first_and_ends_the_session(client: Client, mei: User) -> None:
    client.force_login(mei)
    client.get("/accounts/logout/")
    assert "_auth_user_id" in client.session

    answer = client.post("/accounts/logout/")

    assert answer["Location"] == "/"
    assert "_auth_user_id" not in client.session


def test_a_forgotten_password_is_replaced(client: Client, mei: User, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://usher.example"
    sent = client.post("/accounts/password/reset/", {"email": "MEI@example.com"}, follow=True)
    found = re.search(
        r"https://usher\.example(/accounts/password/reset/key/\S+)", str(mail.outbox[0].body)
    )
    assert found

    form = client.get(found[1], follow=True)
    path = form.redirect_chain[-1][0]
    refused = client.post(path, {"password1": "1234", "password2": "1234"})
    client.post(path, {"password1": NEW, "password2": NEW})

    assert "Look into your mailbox" in sent.content.decode()
    assert_accessible(form.content.decode())
    assert "too short" in refused.content.decode()
    assert User.objects.get().check_password(NEW)


def test_mails_are_in_the_language_of_the_page(client: Client, mei: User) -> None:
    for email in ("mei@example.com", "nobody@example.com"):
        client.post(
            "/accounts/password/reset/",
            {"email": email},
            headers={"Accept-Language": "zh-CN,zh;q=0.9"},
        )

    assert [sent.subject for sent in mail.outbox] == ["设置新密码", "此邮箱尚未注册"]
    assert [str(sent.body).splitlines()[0] for sent in mail.outbox] == ["您好：", "您好："]


@pytest.mark.parametrize(
    "path", ["/accounts/signup/", "/accounts/login/", "/accounts/password/reset/"]
)
def test_the_address_has_one_name_on_all_pages(client: Client, path: str) -> None:
    english = client.get(path).content.decode()
    chinese = client.get(path, headers={"Accept-Language": "zh-CN"}).content.decode()

    assert ">E-mail address</label>" in english
    assert ">邮箱</label>" in chinese


def test_an_unknown_address_gets_the_same_page(client: Client, mei: User) -> None:
    known, unknown = (
        client.post("/accounts/password/reset/", {"email": email}, follow=True)
        for email in ("mei@example.com", "nobody@example.com")
    )

    assert known.redirect_chain == unknown.redirect_chain
    assert without_tokens(known.content) == without_tokens(unknown.content)
    assert [sent.to[0] for sent in mail.outbox] == ["mei@example.com", "nobody@example.com"]


def test_a_new_password_must_have_arrived_as_typed(client: Client, mei: User) -> None:
    client.force_login(mei)
    mangled = b"oldpassword=" + PASSWORD.replace(" ", "+").encode()
    mangled += b"&password1=long%ff%ffenough&password2=long%ff%ffenough"

    answer = client.post(
        "/accounts/password/change/", mangled, content_type="application/x-www-form-urlencoded"
    )

    assert "cannot be stored" in answer.content.decode()
    assert User.objects.get().check_password(PASSWORD)


def test_changing_the_password_writes_nothing_else(client: Client, mei: User) -> None:
    client.force_login(mei)

    client.post(
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW},
    )

    changed = User.objects.get()
    assert changed.check_password(NEW)
    assert changed.registered_at == mei.registered_at


def test_an_address_of_another_account_cannot_become_the_login(
    client: Client, mei: User, register: Register
) -> None:
    other = register(email="other@example.com").user
    client.force_login(mei)
    client.post("/accounts/email/", {"action_add": "", "email": "other@example.com"})

    answer = client.post("/accounts/email/", {"action_primary": "", "email": "other@example.com"})

    assert answer.status_code == 302
    assert any("another account" in str(text) for text in get_messages(answer.wsgi_request))
    mei.refresh_from_db()
    assert mei.email == "mei@example.com"
    assert EmailAddress.objects.get(user=mei, primary=True).email == "mei@example.com"
    assert EmailAddress.objects.get(user=other, primary=True).email == "other@example.com"


def test_another_confirmed_address_becomes_the_login(client: Client, mei: User) -> None:
    EmailAddress.objects.create(user=mei, email="m.ei@gmail.com", verified=True)
    client.force_login(mei)

    client.post("/accounts/email/", {"action_primary": "", "email": "m.ei@gmail.com"})

    mei.refresh_from_db()
    assert (mei.email, mei.email_canonical) == ("m.ei@gmail.com", "mei@gmail.com")
