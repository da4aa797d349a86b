"""Break the coupon app's work in real processes, for as long as a `Fault` row is there."""

import os
from collections.abc import Sequence
from typing import Any

from coupons import services
from tests.probe.models import Fault

SABOTAGE = "PROBE_SABOTAGE"  # environment variable that switches this on
COUPONS = -1  # the number of the faults that concern coupons


def install() -> None:
    """Put a fault before the decision of campaigns, where the environment asks for it."""
    if os.environ.get(SABOTAGE):
        services.decide_registration_campaigns = _sabotaged(services.decide_registration_campaigns)


def _sabotaged(decide: Any) -> Any:
    from tests.probe.receivers import FAULTS

    def fail_while_told(events: Sequence[Any]) -> None:
        for kind in Fault.objects.filter(number=COUPONS).values_list("kind", flat=True):
            FAULTS[kind]()
        decide(events)

    return fail_while_told
