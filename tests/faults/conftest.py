"""Tests that belong to one kind of database are not collected in the pass on the other."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked `database` with another kind than this pass's; begin with chaos.

    A run of chaos takes minutes: begun last, it would have one process work and the others wait.
    """
    kind = config.getoption("database")
    others = [item for item in items if _kind_of(item) not in {None, kind}]
    mine = [item for item in items if item not in others]
    items[:] = sorted(mine, key=lambda item: "test_chaos" not in item.nodeid)
    config.hook.pytest_deselected(items=others)


def _kind_of(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("database")
    return marker.args[0] if marker else None
