"""The tail of the log: what is new about some people, in one statement."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from events.live import (
    LOOK_BACK_S,
    TAIL_LIMIT,
    Hint,
    Window,
    begin,
    read_tail,
    whom_it_concerns,
)
from events.models import Event
from events.signals import EventSignal
from tests.conftest import Publish
from tests.faults.world import register
from tests.probe.crowds import publish_many
from tests.probe.signals import Happened

pytestmark = pytest.mark.django_db(transaction=True)


def types(hints: list[Hint]) -> set[str]:
    """Return what the hints are about."""
    return {hint.type for hint in hints}


def test_what_is_new_about_somebody_is_read_and_nothing_about_others(publish: Publish) -> None:
    before = publish(key="mei")
    others, own = publish(key="lin"), publish(key="mei")

    end, hints = read_tail(["mei"], before.position)

    expected = Hint(position=own.position, event_id=own.id, type="probe.happened", person="mei")
    assert hints == [expected]
    assert end == own.position > others.position


def test_the_end_of_the_log_is_known_where_nothing_is_about_these_people(
    publish: Publish,
) -> None:
    others = publish(key="lin")

    assert read_tail(["mei"], 0) == (others.position, [])


def test_an_empty_log_ends_before_the_first_position() -> None:
    assert (read_tail(["mei"], begin()), begin()) == ((0, []), 0)


def test_whoever_invited_somebody_hears_of_their_registration() -> None:
    inviter = register("mei@example.com")
    joined_at = begin_at_the_end()

    friend = register("lin@example.com", inviter)
    _, hints = read_tail([str(inviter.pk)], joined_at)

    event = Event.objects.get(type="accounts.user_registered", key=str(friend.pk))
    assert [(hint.event_id, hint.person) for hint in hints] == [(event.event_id, str(inviter.pk))]


def test_the_registration_of_somebody_who_was_not_invited_concerns_nobody_else() -> None:
    somebody = register("mei@example.com")
    joined_at = begin_at_the_end()

    register("lin@example.com")

    assert read_tail([str(somebody.pk), "None", ""], joined_at)[1] == []


def begin_at_the_end() -> int:
    """Return the position of the newest event."""
    end, _ = read_tail([], 0)
    return end


def test_a_look_is_one_statement_whoever_is_connected(
    publish: Publish, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    people = [*(f"somebody {number}" for number in range(600)), "mei"]
    event = publish(key="mei")

    with django_assert_num_queries(1):
        _, hints = read_tail(people, 0)

    assert [hint.event_id for hint in hints] == [event.id]


def test_of_a_long_tail_so_much_is_read_and_where_it_ends(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    end = publish_many("mei", TAIL_LIMIT + 50)

    with django_assert_num_queries(2) as asked:
        tail_end, hints = read_tail(["mei"], 0)

    assert (tail_end, len(hints)) == (end, TAIL_LIMIT)
    assert f"LIMIT {TAIL_LIMIT + 1}" in asked.captured_queries[0]["sql"]


def test_whom_a_tail_concerns_is_one_row_a_person_however_long_it_is(
    publish: Publish, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    mei = register("mei@example.com")
    joined_at = begin_at_the_end()
    register("lin@example.com", mei)
    publish_many("ada", 50)
    people = [str(mei.pk), "ada", "somebody of whom there is nothing"]

    with django_assert_num_queries(1) as asked:
        concerned = whom_it_concerns(people, joined_at)

    assert concerned == {str(mei.pk), "ada"}
    assert "UNION ALL" not in asked.captured_queries[0]["sql"]


def test_of_a_short_tail_everything_is_read_in_order() -> None:
    publish_many("mei", TAIL_LIMIT - 1)

    _, hints = read_tail(["mei"], 0)

    positions = [hint.position for hint in hints]
    assert (len(hints), positions) == (TAIL_LIMIT - 1, sorted(positions))


def test_a_person_of_both_roles_gets_both(publish: Publish) -> None:
    inviter = register("mei@example.com")
    register("lin@example.com", inviter)

    _, hints = read_tail([str(inviter.pk)], 0)

    registrations = [hint for hint in hints if hint.type == "accounts.user_registered"]
    assert len(registrations) == User.objects.count() == 2


def test_a_window_begins_where_the_log_ended_some_seconds_ago() -> None:
    window = Window()
    starts = []

    for second in range(8):
        window.note(began_at=100.0 + second, end=1000 + second)
        starts.append(window.start)

    # A look at 105 s begins where that at 100 s ended: whoever commits later than that is late.
    assert LOOK_BACK_S == 5
    assert starts == [1000, 1000, 1000, 1000, 1000, 1000, 1001, 1002]


def test_a_window_that_is_moved_on_begins_where_the_log_ends() -> None:
    window = Window()
    window.note(began_at=100.0, end=10)

    window.move_on(began_at=100.5, end=90_000)

    assert window.start == 90_000


def test_a_window_outlasts_an_outage() -> None:
    window = Window()
    window.note(began_at=100.0, end=10)
    window.note(began_at=104.0, end=20)

    start = window.start
    window.note(began_at=500.0, end=900)

    assert (start, window.start) == (10, 20)


def test_a_window_begins_anew_on_a_log_that_was_restored() -> None:
    window = Window()
    window.note(began_at=100.0, end=900)

    window.note(began_at=100.5, end=30)

    assert window.start == 30


def test_a_field_that_the_data_lacks_can_concern_nobody() -> None:
    with pytest.raises(ImproperlyConfigured, match="inviter_id"):
        EventSignal("probe.odd", version=1, data=Happened, key="key", concerns=["inviter_id"])
