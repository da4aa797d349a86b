"""Seconds from a sign-up's answer to the coupon in its wallet and the points in the inviter's.

    python -m benchmarks.signup_to_wallet [--people 30]

Runs the real web server and worker on a fresh SQLite file (or DATABASE_URL, an empty database), one
person after the other, each invited by the first, and looks through the API as a client would.
"""

import argparse
import json
import tempfile
import time
from typing import Any

from benchmarks.served import Client, percentiles_ms, prepare, server, worker

POLL_S = 0.01
GIVE_UP_AFTER_S = 30


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1, help="per queue")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory, options.workers, settings="benchmarks.settings")
        with server() as port, worker():
            coupons, rewards = _measure(Client(port), options.people)
    print(
        json.dumps(
            {
                "benchmark": "signup_to_wallet",
                "coupon_after_answer": percentiles_ms(coupons),
                "points_after_answer": percentiles_ms(rewards),
                "target_ms": 2000,
                "all_within_target": max(coupons + rewards) < 2.0,
            },
            indent=2,
        )
    )


def _measure(client: Client, people: int) -> tuple[list[float], list[float]]:
    """Return the seconds to the coupon and to the points, for each person."""
    client.register("inviter@example.com")
    inviter_token = client.token("inviter@example.com")
    code = client.get("me/", inviter_token)["referral_code"]
    _seconds_until(lambda: client.get("me/coupons/", inviter_token)["results"])
    coupons, rewards = [], []
    for number in range(people):
        email = f"friend{number}@example.com"
        client.register(email, code)
        answered = time.monotonic()
        balance = 100 * (number + 1)
        _seconds_until(lambda b=balance: client.get("me/points/", inviter_token)["balance"] == b)
        rewards.append(time.monotonic() - answered)
    for number in range(people):
        email = f"alone{number}@example.com"
        client.register(email)
        answered = time.monotonic()
        token = client.token(email)
        _seconds_until(lambda t=token: client.get("me/coupons/", t)["results"])
        coupons.append(time.monotonic() - answered)
    return coupons, rewards


def _seconds_until(condition: Any) -> None:
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not arrive")
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
