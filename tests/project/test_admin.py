"""The admin: named, reached through the one login page, django-q2's tables only to read."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import User

pytestmark = pytest.mark.django_db

QUEUE_MODELS = [model for model in admin.site._registry if model._meta.app_label == "django_q"]


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser that a superuser is logged in with."""
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    return client


def test_the_site_carries_the_name(staff: Client) -> None:
    page = staff.get("/admin/").content.decode()

    assert "<title>Usher | Usher</title>" in page
    assert "Django administration" not in page


def test_strangers_are_led_to_the_one_login_page(client: Client) -> None:
    answer = client.get("/admin/login/?next=/admin/")

    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")


def test_people_who_are_not_staff_are_refused(client: Client) -> None:
    client.force_login(User.objects.create_user("somebody@example.com", "irrelevant here"))

    assert client.get("/admin/login/").status_code == 403


@pytest.mark.parametrize("model", QUEUE_MODELS)
def test_the_queue_is_shown_and_cannot_be_changed(staff: Client, model: type) -> None:
    options = apps.get_model("django_q", model.__name__)._meta
    listing = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")

    assert staff.get(listing).status_code == 200
    assert staff.get(f"{listing}add/").status_code == 403
    model_admin = admin.site._registry[model]
    assert model_admin.actions is None


def test_every_list_opens(staff: Client) -> None:
    names = [
        f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        for model in admin.site._registry
    ]

    statuses = {name: staff.get(reverse(name)).status_code for name in names}

    assert set(statuses.values()) == {200}, statuses
