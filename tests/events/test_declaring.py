"""A receiver that could never work is refused where it is declared, not found out in production."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from events.receivers import all_receivers, background_receiver
from tests.probe.models import ProcessedEvent
from tests.probe.signals import happened


async def awaited(event: Any) -> None:
    """Do nothing when called: somebody would have to await it."""


def generated(event: Any) -> Iterator[None]:
    """Do nothing when called: somebody would have to iterate."""
    yield


async def both(event: Any) -> AsyncIterator[None]:
    """Do nothing when called, in two ways."""
    yield


@pytest.mark.parametrize("function", [awaited, generated, both])
def test_a_function_whose_call_runs_nothing_is_refused(function: Callable[..., Any]) -> None:
    before = all_receivers()

    with pytest.raises(ImproperlyConfigured, match="ordinary function"):
        background_receiver(happened, inbox=ProcessedEvent)(function)

    assert all_receivers() == before
