"""Playwright runs an event loop in the test's thread, where Django then refuses the database."""

import os

os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # for this process: see tests/processes.py
