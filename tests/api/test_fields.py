"""Fields take what the contract says, and nothing that resembles it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from api.fields import StrictDateTimeField


@pytest.mark.parametrize(
    "text",
    ["2026-11-23T09:30:00Z", "2026-11-23t09:30:00z", "2026-11-23T10:30:00.000000000+01:00"],
)
def test_a_time_is_taken_as_rfc_3339_has_it(text: str) -> None:
    moment = StrictDateTimeField().run_validation(text)

    assert moment == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23T09:30:00",  # where?
        "2026-11-23",
        "2026-11-23 09:30:00Z",
        "20261123T093000Z",
        "2026-W48-1T09:30:00Z",
        "2026-11-31T09:30:00Z",
        "٢٠٢٦-11-23T09:30:00Z",
        "2026-11-23T09:30:00Z\n",
        1795425000,
        True,
        ["2026-11-23T09:30:00Z"],
    ],
)
def test_a_time_in_any_other_form_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        StrictDateTimeField().run_validation(value)

    assert refusal.value.get_codes() == ["invalid"]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_is_none_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        StrictDateTimeField().run_validation(text)
