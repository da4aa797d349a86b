"""A NUL in an address of the admin is a bad request, not a failure of the database."""

import pytest
from django.test import Client

from accounts.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser that a superuser is logged in with."""
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    return client


@pytest.mark.parametrize(
    "address",
    [
        "/admin/accounts/user/?status__exact=%00",
        "/admin/accounts/user/?q=a%00b",
        "/admin/accounts/user/?%00",
        "/admin/knox/authtoken/%00/change/",
        "/admin/events/receiverstate/%00/history/",
    ],
)
def test_a_nul_is_refused(staff: Client, address: str) -> None:
    answer = staff.get(address)

    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("text/html")


def test_other_odd_addresses_are_the_admins_business(staff: Client) -> None:
    assert staff.get("/admin/accounts/user/?q=%2500").status_code == 200
    assert staff.get("/admin/knox/authtoken/%2500/change/").status_code == 302


@pytest.mark.parametrize(
    "address", ["/%00/", "/?%00", "/i/%00/", "/wallet/?next=%00", "/api/v1/me/coupons/?cursor=%00"]
)
def test_pages_of_ours_need_no_such_help(staff: Client, address: str) -> None:
    assert staff.get(address).status_code in {200, 302, 404}


def test_the_api_answers_a_nul_with_a_problem(staff: Client) -> None:
    answer = staff.get("/api/v1/%00/")

    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("application/problem+json")
