"""Tests that belong to one kind of database are not collected in the pass on the other."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked `database` with another kind than this pass's."""
    kind = config.getoption("database")
    others = [item for item in items if _kind_of(item) not in {None, kind}]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)


def _kind_of(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("database")
    return marker.args[0] if marker else None
