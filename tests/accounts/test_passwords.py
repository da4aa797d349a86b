"""A new password ends every API token that was got with the old one, all or nothing."""

import re
from collections.abc import Callable

import pytest
from allauth.account.adapter import get_adapter
from django.core import mail
from django.test import Client
from knox.models import AuthToken

from accounts import services
from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register, close, flag

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


@pytest.mark.parametrize("happens", [flag, close])
def test_a_new_password_leaves_the_rest_of_the_account_alone(
    mei: User, happens: Callable[[User], None]
) -> None:
    stale = User.objects.get(pk=mei.pk)
    happens(mei)
    before = User.objects.values("status", "is_active", "closed_at").get(pk=mei.pk)

    services.set_password(user=stale, password=NEW)

    assert User.objects.values("status", "is_active", "closed_at").get(pk=mei.pk) == before


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
