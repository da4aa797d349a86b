"""Ids of messages are known for a while, and forgotten after it."""

from datetime import timedelta

import pytest
from django.core.checks import run_checks
from django.utils import timezone
from pytest_django import Settings

from relay.inbox import prune_received
from relay.risk import ReceivedMessage

pytestmark = pytest.mark.django_db(transaction=True)


def test_ids_older_than_the_window_are_forgotten_and_no_others(settings: Settings) -> None:
    settings.RELAY_INBOX_DAYS = 2
    for message_id, days in (("old", 2), ("recent", 1)):
        at = timezone.now() - timedelta(days=days, seconds=1)
        ReceivedMessage.objects.create(message_id=message_id, received_at=at)

    pruned = [prune_received(), prune_received()]

    assert pruned == [1, 0]
    assert [str(message) for message in ReceivedMessage.objects.all()] == ["recent"]


def test_more_than_a_chunk_is_forgotten_in_one_go() -> None:
    at = timezone.now() - timedelta(days=91)
    ReceivedMessage.objects.bulk_create(
        ReceivedMessage(message_id=f"msg_{number}", received_at=at) for number in range(450)
    )

    assert prune_received() == 450


def test_a_window_that_remembers_nothing_is_told(settings: Settings) -> None:
    settings.RELAY_INBOX_DAYS = 0

    assert "relay.E004" in [finding.id for finding in run_checks()]
