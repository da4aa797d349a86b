"""The browser lane: tests marked `browser` run in the system's Chromium, or say why they do not."""

import os
import shutil
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "Chromium is not installed (apt-get install chromium)"


def chromium() -> str | None:
    """Return the path of the system's Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the lane last, and skip it where there is no Chromium.

    Playwright leaves an event loop in the test's thread, which others must not meet.
    """
    items.sort(key=_is_browser_test)
    for item in filter(_is_browser_test, items):
        if chromium() is None:
            item.add_marker(pytest.mark.skip(reason=MISSING))


def _is_browser_test(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Return pytest-playwright's own arguments, with the system's Chromium."""
    arguments = list(browser_type_launch_args.get("args", []))
    if os.getuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to run as root with it
    return {**browser_type_launch_args, "executable_path": chromium(), "args": arguments}
