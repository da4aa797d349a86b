"""Containers ask a worker whether it is alive, and get a true answer."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from events.delivery import liveness, supervisor
from events.delivery.supervisor import Supervisor


def ask(port: int) -> tuple[int, dict[str, Any]]:
    """Return status and body of the answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)


@contextmanager
def answering(what_is_stuck: Callable[[], dict[str, str]]) -> Iterator[int]:
    """Answer during a block, on the port it is given."""
    server = liveness.listen(0)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(liveness.answer, server, what_is_stuck)
        yield server.server_address[1]
        server.shutdown()
    server.server_close()


def test_a_worker_that_watches_and_sweeps_is_alive() -> None:
    with answering(Supervisor([], grace_s=0).what_is_stuck) as port:
        answer = ask(port)

    assert answer == (200, {"alive": True, "stuck": {}})


@pytest.mark.parametrize("part", ["watch", "sweep"])
def test_a_worker_whose_loops_have_stopped_is_not(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, f"{part.upper()}_PATIENCE_S", 0)

    with answering(Supervisor([], grace_s=0).what_is_stuck) as port:
        status, body = ask(port)

    assert status == 503
    assert not body["alive"]
    assert set(body["stuck"]) == {part}


def test_a_port_that_is_taken_is_named() -> None:
    with (
        answering(dict) as port,
        pytest.raises(CommandError, match=str(port)) as refused,
    ):
        call_command("worker", "probe", liveness_port=port)

    assert refused.value.returncode == 2
