"""A new password ends every API token that was got with the old one, all or nothing."""

import re
from collections.abc import Callable

import pytest
from allauth.account.adapter import get_adapter
from django.core import mail
from django.test import Client
from knox.models import AuthToken

from accounts import services
from accounts.closing import CloseReason, close_account
from accounts.models import User
from accounts.standing import AccountIsClosed
from tests.accounts.conftest import PASSWORD, Register, flag

pytestmark = pytest.mark.django_db

NEW = "a newer long one"


@pytest.fixture
def mei(register: Register) -> User:
    """Return somebody with a token; somebody else has one, too."""
    user = register(email="mei@example.com").user
    for person in (user, register().user):
        services.issue_token(user=person)
    return user


def change(user: User) -> None:
    """Change the password on its page."""
    client = Client()
    client.force_login(user)
    typed = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    client.post("/accounts/password/change/", typed)


def reset(user: User) -> None:
    """Follow the link in the mail."""
    client = Client()
    client.post("/accounts/password/reset/", {"email": user.email})
    body = str(mail.outbox[-1].body)
    found = re.search(r"https?://[^/]+(/accounts/password/reset/key/\S+)", body)
    assert found
    form = client.get(found[1])["Location"]
    client.post(form, {"password1": NEW, "password2": NEW})


def set_by_staff(user: User) -> None:
    """Let an administrator set it."""
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))
    url = f"/admin/accounts/user/{user.pk}/password/"
    client.post(url, {"usable_password": "true", "password1": NEW, "password2": NEW})


@pytest.mark.parametrize("set_anew", [change, reset, set_by_staff])
def test_a_new_password_ends_the_tokens_of_the_old_one(
    mei: User, set_anew: Callable[[User], None]
) -> None:
    set_anew(mei)

    assert User.objects.get(pk=mei.pk).check_password(NEW)
    assert not AuthToken.objects.filter(user=mei).exists()
    assert AuthToken.objects.count() == 1


def test_taking_a_password_away_ends_its_tokens(mei: User, client: Client) -> None:
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))

    client.post(
        f"/admin/accounts/user/{mei.pk}/password/",
        {"usable_password": "false", "unset-password": "1"},
    )

    assert not User.objects.get(pk=mei.pk).has_usable_password()
    assert not AuthToken.objects.filter(user=mei).exists()


def test_the_tokens_end_with_the_change_or_not_at_all(
    mei: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(type(AuthToken.objects.all()), "delete", fail)

    with pytest.raises(RuntimeError, match="no database"):
        get_adapter().set_password(mei, NEW)

    assert User.objects.get(pk=mei.pk).check_password(PASSWORD)


def test_a_new_password_leaves_the_rest_of_the_account_alone(mei: User) -> None:
    stale = User.objects.get(pk=mei.pk)
    flag(mei)

    services.set_password(user=stale, password=NEW)

    assert User.objects.get(pk=mei.pk).status == "flagged"


def test_a_closed_account_gets_no_password(mei: User) -> None:
    stale = User.objects.get(pk=mei.pk)
    close_account(user_id=mei.pk, reason=CloseReason.REQUESTED)

    with pytest.raises(AccountIsClosed):
        services.set_password(user=stale, password=NEW)

    assert not User.objects.get(pk=mei.pk).has_usable_password()


def test_whose_account_is_closed_while_the_password_is_set_is_told(
    mei: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(mei)
    let_close_meanwhile(monkeypatch, mei)

    typed = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    page = client.post("/accounts/password/change/", typed, follow=True)

    assert "The account is closed, and that is final." in page.content.decode()
    assert not User.objects.get(pk=mei.pk).has_usable_password()


def let_close_meanwhile(monkeypatch: pytest.MonkeyPatch, user: User) -> None:
    """Close an account while a new password of it is hashed."""
    set_password = User.set_password

    def close_first(self: User, typed: str | None) -> None:
        close_account(user_id=user.pk, reason=CloseReason.REQUESTED)
        set_password(self, typed)

    monkeypatch.setattr(User, "set_password", close_first)


def test_staff_set_no_password_of_a_closed_account(mei: User, client: Client) -> None:
    client.force_login(User.objects.create_superuser("admin@example.com", PASSWORD))
    close_account(user_id=mei.pk, reason=CloseReason.REQUESTED)

    url = f"/admin/accounts/user/{mei.pk}/password/"
    typed = {"usable_password": "true", "password1": NEW, "password2": NEW}
    page = client.post(url, typed).content.decode()

    assert "The account is closed, and that is final." in page
    assert not User.objects.get(pk=mei.pk).has_usable_password()


def test_staff_who_set_a_password_leave_the_rest_of_the_account_alone(
    mei: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_password = User.set_password

    def flag_meanwhile(self: User, typed: str | None) -> None:
        flag(self)
        set_password(self, typed)

    monkeypatch.setattr(User, "set_password", flag_meanwhile)
    client = Client()
    client.force_login(User.objects.create_superuser("admin@example.com"))

    url = f"/admin/accounts/user/{mei.pk}/password/"
    client.post(url, {"usable_password": "true", "password1": NEW, "password2": NEW})

    changed = User.objects.get(pk=mei.pk)
    assert (changed.status, changed.check_password(NEW)) == ("flagged", True)
