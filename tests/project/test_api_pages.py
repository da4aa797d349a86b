"""Lists come in pages, in a stable order, and a cursor that was tampered with harms nobody."""

from base64 import b64encode

import pytest
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory

from accounts.models import User
from coupons.models import Coupon
from project.api.pagination import CursorPagination
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

URL = "/api/v1/me/coupons/"


@pytest.fixture
def owner() -> User:
    """Return somebody with seven coupons."""
    owner = make_person()
    for _ in range(7):
        make_coupon(make_campaign(), owner)
    return owner


@pytest.fixture
def owners_client(api_client: APIClient, owner: User) -> APIClient:
    """Return the owner's client."""
    api_client.force_authenticate(owner)
    return api_client


def walk(client: APIClient, url: str | None, step: str = "next") -> list[list[str]]:
    """Follow the pages from one address; return the codes on each."""
    pages = []
    while url:
        page = client.get(url).json()
        assert page.keys() == {"next", "previous", "results"}
        pages.append([coupon["code"] for coupon in page["results"]])
        url = page[step]
    return pages


def test_pages_hold_everything_once_newest_first(owners_client: APIClient) -> None:
    newest_first = list(Coupon.objects.order_by("-pk").values_list("code", flat=True))

    pages = walk(owners_client, f"{URL}?page_size=3")

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [code for page in pages for code in page] == newest_first


def test_a_row_added_in_front_moves_no_page(owners_client: APIClient, owner: User) -> None:
    first = owners_client.get(f"{URL}?page_size=3").json()
    before = owners_client.get(first["next"]).json()["results"]

    make_coupon(make_campaign(), owner)

    assert owners_client.get(first["next"]).json()["results"] == before


def test_pages_can_be_walked_back(owners_client: APIClient) -> None:
    last = owners_client.get(f"{URL}?page_size=3").json()
    while last["next"]:
        last = owners_client.get(last["next"]).json()

    pages = walk(owners_client, last["previous"], "previous")

    assert [len(page) for page in pages] == [3, 3]


@pytest.mark.parametrize("page_size", ["0", "-1", "x", "", "1e9"])
def test_a_strange_page_size_is_ignored(owners_client: APIClient, page_size: str) -> None:
    answer = owners_client.get(URL, {"page_size": page_size})

    assert len(answer.json()["results"]) == 7


@pytest.mark.parametrize(("query", "size"), [({}, 50), ({"page_size": "1000"}, 200)])
def test_a_page_has_fifty_rows_and_two_hundred_at_most(query: dict[str, str], size: int) -> None:
    request = Request(APIRequestFactory().get(URL, query))

    assert CursorPagination().get_page_size(request) == size


def forged(text: str) -> str:
    """Return a cursor that holds any text."""
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "=",
        "💥",
        "%00",
        "a" * 5000,
        forged("p=nonsense"),
        forged("p=00000000-0000-0000-0000-00000000000g"),
        forged("p=\x00"),
        forged("o=-1"),
        forged("o=99999999999999999999999"),
        forged("r=1&p=1e400"),
        forged("&&&==="),
        "",
    ],
)
@pytest.mark.parametrize("url", [URL, "/api/v1/me/points/entries/"])
def test_a_forged_cursor_is_refused_or_harmless(
    owners_client: APIClient, url: str, cursor: str
) -> None:
    answer = owners_client.get(url, {"cursor": cursor})

    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "invalid_cursor"


def test_a_cursor_that_says_nothing_is_refused(owners_client: APIClient) -> None:
    answer = owners_client.get(URL, {"cursor": forged("p=nonsense")})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_nobody_sees_another_ones_rows_through_a_cursor(
    owners_client: APIClient, api_client: APIClient
) -> None:
    cursor = owners_client.get(f"{URL}?page_size=3").json()["next"]
    api_client.force_authenticate(make_person())

    assert api_client.get(cursor).json()["results"] == []
