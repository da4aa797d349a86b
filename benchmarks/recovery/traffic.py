"""Sign-ups at a fixed rate, whether or not earlier ones are answered, and what became of each."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from benchmarks.served import HOST, PASSWORD, percentiles_ms

ANSWER_S = 120.0  # longer than any answer may take, so that the longest is seen


@dataclass(frozen=True, slots=True)
class Answer:
    """One sign-up, as its client saw it. Times are of the monotonic clock."""

    sent_at: float
    seconds: float
    status: int  # 0: no answer at all
    has_retry_after: bool
    user_id: str  # of a 201

    @property
    def is_clean_refusal(self) -> bool:
        """Tell whether it is a 503 that says when to come back."""
        return self.status == 503 and self.has_retry_after


class Traffic:
    """Sign-ups that go on until told to stop."""

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._rate = rate
        self._answers: list[Future[Answer]] = []
        self._stopping = Event()

    @contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Send sign-ups during a block; all are answered at its end."""
        sender = Thread(target=self._send)
        sender.start()
        try:
            yield self
        finally:
            self._stopping.set()
            sender.join()

    def sent(self, since: float = 0.0, until: float = float("inf")) -> list[Answer]:
        """Return the answers to what was sent in a span of time, in the order of sending."""
        answers = [future.result() for future in self._answers]
        return [answer for answer in answers if since <= answer.sent_at < until]

    def _send(self) -> None:
        started = time.monotonic()
        with ThreadPoolExecutor(256) as pool:
            while not self._stopping.is_set():
                self._answers.append(pool.submit(_sign_up, self._port, len(self._answers)))
                due_at = started + len(self._answers) / self._rate
                time.sleep(max(0.0, due_at - time.monotonic()))


def _sign_up(port: int, number: int) -> Answer:
    sent_at = time.monotonic()
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
    body = json.dumps({"email": f"person{number}@example.com", "password": PASSWORD})
    try:
        connection.request(
            "POST", "/api/v1/registrations/", body, {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        return Answer(sent_at, time.monotonic() - sent_at, 0, False, "")
    finally:
        connection.close()
    user_id = json.loads(content)["id"] if answer.status == 201 else ""
    has_retry_after = answer.getheader("Retry-After") is not None
    return Answer(sent_at, time.monotonic() - sent_at, answer.status, has_retry_after, user_id)


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return how sign-ups were answered and how long that took."""
    statuses = Counter(str(answer.status) for answer in answers)
    return {
        "answers": dict(statuses),
        **(percentiles_ms([answer.seconds for answer in answers]) if answers else {}),
    }


def normal_after_s(answers: Sequence[Answer], returned_at: float) -> float:
    """Return the seconds from `returned_at` until every answer from there on is 201.

    Infinite where even the last is none.
    """
    if not answers or answers[-1].status != 201:
        return float("inf")
    normal_at = returned_at
    for answer in reversed(answers):
        if answer.status != 201:
            break
        normal_at = answer.sent_at + answer.seconds
    return max(0.0, normal_at - returned_at)
