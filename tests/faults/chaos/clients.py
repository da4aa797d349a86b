"""Clients: they register people through the API, again until they are told how it ended."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Any

from django.db import DatabaseError, connection

from accounts.models import User
from tests.faults.chaos.fleet import HOST
from tests.faults.chaos.history import History
from tests.faults.world import PASSWORD

THREADS = 8
TIMEOUT_S = 30.0
GIVE_UP_AFTER_S = 180.0  # one person
PAUSE_S = (0.05, 0.5)  # between two tries
NEW_INVITER_EVERY = 10  # people
SHOWN = 20  # of what should not be


class Progress:
    """How far a run is: hands out people one by one, at a rate, and lets the killer keep up."""

    def __init__(self, registrations: int, rate_per_s: float) -> None:
        self.registrations = registrations
        self._interval_s = 1 / rate_per_s
        self._condition = threading.Condition()
        self._next_at = time.monotonic()
        self.begun = 0
        self.hold_at = registrations  # nobody beyond this is begun; the killer moves it

    def next(self) -> int | None:
        """Return the number of the next person, when it is time; None where there are no more."""
        with self._condition:
            self._condition.wait_for(lambda: self.begun < self.hold_at or self._is_over())
            if self._is_over():
                return None
            number, self.begun = self.begun, self.begun + 1
            self._condition.notify_all()
            self._next_at = max(time.monotonic(), self._next_at + self._interval_s)
            wait_s = self._next_at - time.monotonic()
        time.sleep(max(0.0, wait_s))
        return number

    def wait_for(self, number: int) -> None:
        """Return once so many are begun."""
        with self._condition:
            self._condition.wait_for(lambda: self.begun >= min(number, self.registrations))

    def allow(self, number: int) -> None:
        """Let people up to this number begin."""
        with self._condition:
            self.hold_at = min(number, self.registrations)
            self._condition.notify_all()

    def _is_over(self) -> bool:
        return self.begun >= self.registrations


@dataclass(slots=True)
class Answers:
    """What all clients were answered."""

    by_status: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    gave_up: list[str] = field(default_factory=list)
    stored_all_the_same: int = 0  # an unknown outcome that turned out to be stored
    wrong: list[str] = field(default_factory=list)  # what no outage excuses
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, status: str, took_s: float) -> None:
        """Count an answer, or what came instead."""
        with self.lock:
            self.by_status[status] += 1
            if status.isdigit():
                self.slowest_s = max(self.slowest_s, took_s)

    def summary(self) -> dict[str, Any]:
        """Return it for the result of a run."""
        return {
            "gave_up": self.gave_up[:SHOWN],
            "wrong_answers": self.wrong[:SHOWN],
            "answered": dict(sorted(self.by_status.items())),
            "stored_though_unanswered": self.stored_all_the_same,
            "slowest_answer_s": round(self.slowest_s, 3),
        }


class NotSent(Exception):
    """The server could not be reached."""


class Clients:
    """Some threads that register people until there are no more."""

    def __init__(
        self, ports: Sequence[int], history: History, progress: Progress, seed: int, code: str
    ) -> None:
        """Take where to call, where to write, whom to register, and the first referral code."""
        self.ports = ports
        self.history = history
        self.progress = progress
        self.seed = seed
        self.answers = Answers()
        self._codes = [code]
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def is_busy(self) -> bool:
        """Tell whether somebody is not registered yet, nor given up on."""
        return any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (number := self.progress.next()) is not None:
            self._register(number)
        connection.close()

    def _register(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")  # noqa: S311
        email = f"person-{self.seed}-{number}@example.com"
        code = chance.choice(self._codes) if number % 2 else ""
        started = time.monotonic()
        for attempt in count():
            if self._try(email, code, self.ports[(number + attempt) % len(self.ports)]):
                break
            if time.monotonic() - started > GIVE_UP_AFTER_S:
                self.answers.gave_up.append(email)
                return
            time.sleep(chance.uniform(*PAUSE_S))
        if number % NEW_INVITER_EVERY == 0:
            self._add_code_of(email)

    def _try(self, email: str, code: str, port: int) -> bool:
        """Send one request. Return whether it is known that the person is registered."""
        self.history.add("invoke", email, code=code)
        started = time.monotonic()
        try:
            status, body = _post(
                port, {"email": email, "password": PASSWORD, "referral_code": code}
            )
        except NotSent:
            self.answers.note("not sent", 0)
            self.history.add("fail", email, status=None)
            return False
        except (OSError, HTTPException, ValueError) as error:
            self.answers.note(type(error).__name__, 0)
            self.history.add("info", email, status=None)
            return False
        self.answers.note(str(status), time.monotonic() - started)
        return self._judge(email, code, status, body)

    def _judge(self, email: str, code: str, status: int, body: dict[str, Any]) -> bool:
        if status == 201:
            if bool(code) != body["referral"]["applied"]:
                self.answers.wrong.append(f"{email} was told {body['referral']} for code {code!r}")
            self.history.add("ok", email, status=status, id=body["id"])
            return True
        if status == 409 and body.get("code") == "email_taken":
            # Nobody else uses the address: an attempt whose outcome was unknown was stored.
            self.answers.stored_all_the_same += 1
            self.history.add("ok", email, status=status)
            return True
        self.history.add("fail" if status == 503 else "info", email, status=status)
        if status != 503:
            self.answers.wrong.append(f"{email} was answered {status}: {body}")
        return False

    def _add_code_of(self, email: str) -> None:
        """Let later people be invited by this one. Where the database is away, they are not."""
        with suppress(DatabaseError):
            self._codes.append(
                User.objects.values_list("referral_code", flat=True).get(email=email)
            )


def _post(port: int, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Register by the API; return the status and the answer. Raises NotSent."""
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise NotSent from error
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/v1/registrations/", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
