"""The backbone does what its model does, whatever happens in whatever order."""

import os
import random

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.events.backbone_machine import BackboneMachine, still_time

# BACKBONE_EXAMPLES=1000 looks harder. One takes about a second of processor time.
EXAMPLES = int(os.environ.get("BACKBONE_EXAMPLES", "15"))
STEPS = 30

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_backbone_does_what_its_model_does() -> None:
    # pytest-randomly has seeded `random`: the run is repeated by --randomly-seed=, which it prints.
    machine = seed(random.getrandbits(32))(BackboneMachine)
    # No deadline: a step may wait for a disk.
    thorough = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, print_blob=True
    )

    with still_time():
        run_state_machine_as_test(machine, settings=thorough)
