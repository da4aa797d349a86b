"""Rows that are inserted by arrays are those that the ORM would insert."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.models import KEY_LENGTH, Event
from events.rows import insert

# PostgreSQL stores no NUL, and surrogates are no characters.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=KEY_LENGTH)
awkward = st.sampled_from(
    ["", "NULL", "null", '"', "\\", '\\"', "{a,b}", "a,b", "'", "%s", "\n", "中"]
)


def row(**values: Any) -> Event:
    """Return an unsaved event."""
    return Event(**{"type": "probe.happened", "version": 1, "key": "a", "data": {}} | values)


def stored(rows: Sequence[Event]) -> list[dict[str, Any]]:
    """Return what the database has of some events, in order of position."""
    found = Event.objects.filter(event_id__in=[each.event_id for each in rows])
    names = [field.attname for field in Event._meta.concrete_fields if not field.primary_key]
    return list(found.order_by("position").values(*names))


@pytest.mark.django_db
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.lists(texts | awkward, min_size=1, max_size=5),
    text=texts | awkward,
    number=st.integers(-(2**53), 2**53),
    occurred_at=st.floats(0, 2**37).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    causation_id=st.none() | st.uuids(),
)
def test_what_is_inserted_is_what_is_read(
    keys: list[str], text: str, number: int, **values: Any
) -> None:
    data = {"text": text, "number": number, "none": None, "list": [text]}
    rows = [row(key=key, data=data, **values) for key in keys]
    twins = [row(key=key, data=data, **values) for key in keys]

    insert(rows)
    Event.objects.bulk_create(twins)

    ids = {"event_id": None}
    assert [each | ids for each in stored(rows)] == [each | ids for each in stored(twins)]
    assert [each["key"] for each in stored(rows)] == keys
    assert not any(each._state.adding for each in rows)


@pytest.mark.django_db
def test_positions_follow_the_order_of_the_rows() -> None:
    rows = [row(key=str(number)) for number in range(600)]

    returned = insert(rows, "RETURNING key, position")

    positions = dict(returned)
    assert [positions[each.key] for each in rows] == sorted(positions.values())


@pytest.mark.django_db
def test_no_rows_are_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert insert([]) == []


@pytest.mark.django_db
def test_a_row_that_is_there_is_refused_or_passed_over_as_the_caller_says() -> None:
    there, new = row(), row()
    insert([there])

    with pytest.raises(IntegrityError), transaction.atomic():
        insert([row(event_id=there.event_id), new])
    insert([row(event_id=there.event_id, key="b"), new], "ON CONFLICT (event_id) DO NOTHING")

    assert [each["key"] for each in stored([there, new])] == ["a", "a"]


@pytest.mark.django_db
def test_what_is_too_long_is_refused_not_cut_off() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite knows no lengths, whoever inserts.")
    with pytest.raises(DataError), transaction.atomic():
        insert([row(key="a" * (KEY_LENGTH + 1), correlation_id=str(uuid4()))])
