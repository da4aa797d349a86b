"""Playwright runs an event loop in the test's thread, where Django then refuses the database."""

import os

from playwright.sync_api import expect

os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # for this process: see tests/processes.py

expect.set_options(timeout=30_000)  # milliseconds: a hang, not a target
