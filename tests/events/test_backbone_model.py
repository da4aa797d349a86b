"""The backbone does what its model does, whatever happens in whatever order."""

import os

import pytest
from hypothesis import settings

from tests.events.backbone_machine import compare

# BACKBONE_EXAMPLES=1000 looks harder. One takes about a second of processor time.
EXAMPLES = int(os.environ.get("BACKBONE_EXAMPLES", "10"))
STEPS = 30

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_backbone_does_what_its_model_does() -> None:
    # No deadline: a step may wait for a disk.
    compare(
        settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, print_blob=True)
    )
