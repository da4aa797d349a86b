"""`check_invariants` says ok of a healthy world, and names what is broken in a broken one."""

import pytest

from accounts.models import User
from tests.conftest import Drain
from tests.faults.world import open_campaign_and_rule, register
from tests.invariants import check

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(drain: Drain) -> User:
    """Return an inviter, in a world where one person was invited and all is delivered."""
    inviter: User = open_campaign_and_rule(drain)
    register("b@example.com", inviter)
    drain()
    return inviter


def test_a_healthy_world_is_ok(world: User) -> None:
    assert check("--at-rest")["ok"] is True
