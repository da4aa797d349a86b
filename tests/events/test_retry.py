"""Retries come later and later, within bounds, and at some point no more."""

from hypothesis import given
from hypothesis import strategies as st

from events.retry import RetrySchedule

schedules = st.builds(
    RetrySchedule,
    max_attempts=st.integers(1, 100),
    first_delay_s=st.floats(0.01, 100),
    factor=st.floats(1, 10),
    max_delay_s=st.floats(100, 100_000),
    jitter=st.floats(0, 1),
)


@given(schedule=schedules, attempts=st.integers(1, 10**9))
def test_a_delay_is_within_the_first_and_the_longest_and_their_jitter(
    schedule: RetrySchedule, attempts: int
) -> None:
    delay_s = schedule.delay_s(attempts)

    assert schedule.first_delay_s <= delay_s
    assert delay_s <= schedule.max_delay_s * (1 + schedule.jitter)


@given(schedule=schedules, attempts=st.integers(1, 200))
def test_without_jitter_a_delay_is_never_shorter_than_the_one_before(
    schedule: RetrySchedule, attempts: int
) -> None:
    steady = RetrySchedule(
        first_delay_s=schedule.first_delay_s,
        factor=schedule.factor,
        max_delay_s=schedule.max_delay_s,
        jitter=0,
    )

    assert steady.delay_s(attempts) <= steady.delay_s(attempts + 1)


@given(schedule=schedules)
def test_exactly_the_allowed_attempts_are_made(schedule: RetrySchedule) -> None:
    made = 1
    while not schedule.is_exhausted(made):
        made += 1

    assert made == schedule.max_attempts
