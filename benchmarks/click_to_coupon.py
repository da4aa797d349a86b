"""Seconds from the click on "Sign up" to the coupon in the open wallet, in a real browser.

    python -m benchmarks.click_to_coupon [--people 20]

Runs the real web server and worker on a fresh SQLite file (or DATABASE_URL, an empty database),
with the passwords of production, and Debian's Chromium with a fresh profile for each person.
"""

import argparse
import json
import os
import tempfile
import time

from playwright.sync_api import Browser, sync_playwright

from benchmarks.served import HOST, PASSWORD, percentiles_ms, prepare, server, worker
from tests.servers.browser import MISSING, chromium

TARGET_MS = 1000
GIVE_UP_AFTER_MS = 30_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory, workers=1)
        os.environ["PASSWORD_HASHER"] = "argon2"  # noqa: S105
        with server() as port, worker():
            seconds = _measure(f"http://{HOST}:{port}", options.people)
    figures = percentiles_ms(seconds)
    print(
        json.dumps(
            {
                "benchmark": "click_to_coupon",
                "coupon_after_click": figures,
                "median_target_ms": TARGET_MS,
                "median_within_target": figures["p50_ms"] <= TARGET_MS,
            },
            indent=2,
        )
    )


def _measure(address: str, people: int) -> list[float]:
    """Return the seconds of each person. The first one warms everything up, and does not count."""
    path = chromium()
    if path is None:
        raise SystemExit(MISSING)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        return [_sign_up(browser, address, number) for number in range(people + 1)][1:]


def _sign_up(browser: Browser, address: str, number: int) -> float:
    page = browser.new_context().new_page()
    page.goto(f"{address}/accounts/signup/")
    page.get_by_label("E-mail address").fill(f"somebody{number}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    button = page.get_by_role("main").get_by_role("button", name="Sign up")
    clicked = time.monotonic()
    button.click(no_wait_after=True)
    page.locator(".ticket.usable").wait_for(timeout=GIVE_UP_AFTER_MS)
    seconds = time.monotonic() - clicked
    page.context.close()
    return seconds


if __name__ == "__main__":
    main()
