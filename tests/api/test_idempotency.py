"""A request that is repeated under its `Idempotency-Key` has one effect and one answer."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APIClient

from accounts.models import User
from api import idempotency
from api.idempotency import KEPT, LEASE, forget_answers, prune_answers
from api.models import IdempotentAnswer
from tests.api.urls import failing
from tests.parallel import run_at_once
from tests.probe.models import Effect
from tests.registrations import make_person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.api.urls")]

SEATS = "/api/v1/seats/"
MANY = 100  # requests at once


@pytest.fixture(autouse=True)
def _nothing_fails_afterwards() -> Iterator[None]:
    yield
    failing.clear()


def post(
    key: str | None = "k1", data: Any = None, *, user: User | None = None, path: str = SEATS
) -> Any:
    client = APIClient(raise_request_exception=False)
    if user is not None:
        client.force_authenticate(user)
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(path, {"number": 1} if data is None else data, headers=headers)


def test_the_first_answer_is_given_again_and_nothing_else_happens() -> None:
    first = post()

    again = post()

    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert Effect.objects.count() == 1


def test_without_a_key_every_request_counts() -> None:
    answers = [post(key=None) for _ in range(2)]

    assert answers[0].content != answers[1].content
    assert Effect.objects.count() == 2
    assert not IdempotentAnswer.objects.exists()


def test_a_key_may_be_quoted() -> None:
    first = post(key="k1")

    assert post(key='"k1"').content == first.content


def test_the_same_object_written_otherwise_is_the_same_request() -> None:
    first = post(data={"number": 1, "name": "é"})

    assert post(data={"name": "é", "number": 1}).content == first.content


@pytest.mark.parametrize("key", ["", '""', "a" * 256, "two words", "schlüssel", '"'])
def test_what_is_no_key_is_refused(key: str) -> None:
    answer = post(key=key)

    if key == '"':  # an ordinary character
        assert answer.status_code == 201
        return
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_idempotency_key"
    assert not Effect.objects.exists()


@pytest.mark.parametrize("other", [{"data": {"number": 2}}, {"path": "/api/v1/sofas/"}])
def test_another_request_under_the_same_key_is_refused(other: dict[str, Any]) -> None:
    post()

    answer = post(**other)

    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert Effect.objects.count() == 1


def test_each_caller_has_keys_of_their_own() -> None:
    mei, jun = make_person(), make_person()

    answers = [post(user=user) for user in (None, mei, jun)]

    assert len({answer.content for answer in answers}) == 3
    assert post(user=mei).content == answers[1].content


def test_while_the_first_one_runs_the_second_is_told_to_wait() -> None:
    post()
    running_until(timezone.now() + LEASE)

    answer = post()

    assert answer.status_code == 409
    assert answer.json()["code"] == "idempotency_key_in_use"
    assert answer["Retry-After"] == "1"


def test_a_request_that_died_is_done_by_the_next_one() -> None:
    post()
    running_until(timezone.now() - timedelta(seconds=1))
    Effect.objects.all().delete()

    answer = post()

    assert answer.status_code == 201
    assert Effect.objects.count() == 1
    assert post().content == answer.content


def running_until(moment: Any) -> None:
    IdempotentAnswer.objects.update(
        status=None, content_type="", body="", lease_token=uuid4(), leased_until=moment
    )


def test_effect_and_answer_come_together_or_not_at_all() -> None:
    with mock.patch.object(idempotency.Attempt, "keep", side_effect=ZeroDivisionError):
        answer = post()

    assert answer.status_code == 500
    assert not Effect.objects.exists()
    assert post().status_code == 201


def test_one_that_overslept_its_lease_has_no_effect() -> None:
    def oversleep(*args: object, **kwargs: object) -> bytes:
        IdempotentAnswer.objects.update(lease_token=uuid4())  # another one has taken it over
        return b"{}"

    with mock.patch.object(JSONRenderer, "render", oversleep):
        answer = post()

    assert answer.status_code == 409
    assert not Effect.objects.exists()


@pytest.mark.parametrize(
    ("failure", "status"), [("invalid", 400), ("throttled", 429), ("bug", 500)]
)
def test_a_request_that_failed_may_be_tried_again(failure: str, status: int) -> None:
    failing.append(failure)

    first, again = post(), post()

    assert first.status_code == status
    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again
    assert Effect.objects.count() == 1


def test_a_refusal_is_an_answer_that_stays() -> None:
    failing.append("conflict")

    first, again = post(), post()

    assert first.status_code == again.status_code == 409
    assert again.content == first.content
    assert again["Content-Type"] == "application/problem+json"
    assert again["Idempotent-Replayed"] == "true"
    assert not Effect.objects.exists()


def test_of_many_at_once_one_has_the_effect_and_all_get_its_answer() -> None:
    def persist() -> bytes:
        while (answer := post()).status_code == 409:
            assert answer.json()["code"] == "idempotency_key_in_use"
        content: bytes = answer.content
        return content

    answers = run_at_once([persist] * MANY)

    assert len(answers) == MANY
    assert len(set(answers)) == 1
    assert Effect.objects.count() == 1


def test_nothing_that_was_sent_is_kept() -> None:
    post(data={"password": "hunter2-hunter2"})

    row = IdempotentAnswer.objects.get()

    assert "hunter2" not in str(vars(row))


def test_a_new_secret_key_does_not_make_it_another_request(settings: Any) -> None:
    first = post()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one"

    assert post().content == first.content


def test_after_a_day_the_key_is_free_again() -> None:
    first = post()
    IdempotentAnswer.objects.update(expires_at=timezone.now())

    other = post(data={"number": 2})

    assert other.status_code == 201
    assert other.content != first.content
    assert IdempotentAnswer.objects.get().expires_at > timezone.now() + KEPT - timedelta(hours=1)


def test_what_is_no_longer_kept_is_deleted() -> None:
    for key in ("old", "new"):
        post(key=key)
    IdempotentAnswer.objects.filter(key="old").update(expires_at=timezone.now())

    assert prune_answers() == 1
    assert IdempotentAnswer.objects.get().key == "new"


def test_answers_to_and_about_a_person_can_be_forgotten() -> None:
    mei, jun = make_person(), make_person()
    post(user=mei)
    post(user=jun)
    post(key="another")
    IdempotentAnswer.objects.filter(key="another").update(subject=mei.pk)

    assert forget_answers([mei.pk]) == 2
    assert IdempotentAnswer.objects.get().caller == str(jun.pk)
