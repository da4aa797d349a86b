"""What docs/api-tutorial.md shows can be typed as it stands, and is answered as it says."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import Drain
from tests.coupons.factories import make_campaign
from tests.points.factories import make_rule
from tests.processes import ROOT, environment, wait_until, web_server

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = (ROOT / "docs" / "api-tutorial.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
TIMEOUT_S = 60
# Different each time; of these the kind is compared alone.
VARYING = {"id", "registered_at", "referral_code", "referral_url", "code", "request_id"}
VARYING |= {"valid_from", "valid_until", "rolled_back_at"}


def blocks(language: str) -> list[str]:
    """Return everything the text shows in a language, in order."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.S | re.M)
    return found


@pytest.mark.parametrize(
    ("language", "command"),
    [("bash", ["bash", "-euo", "pipefail"]), ("python", [sys.executable, "-"])],
)
def test_every_step_is_answered_as_shown(language: str, command: list[str], drain: Drain) -> None:
    make_campaign(name="Welcome", basis_points=None, amount=500, currency="EUR")
    make_rule()
    let_the_shop_in()

    with web_server() as address:
        printed = run("\n".join(blocks(language)).replace(ADDRESS, address), command, drain)

    shown = [json.loads(block) for block in blocks("json")]
    assert [stable(answer) for answer in documents(printed)] == [stable(each) for each in shown]


def let_the_shop_in() -> None:
    """Do what the text says about the shop's account."""
    [block] = blocks("sh")
    run(block.replace(".venv/bin/python", sys.executable), ["bash", "-eu"])


def run(script: str, command: list[str], drain: Drain = lambda: 0) -> str:
    """Run a script, and meanwhile what a worker would; return what it printed."""

    def has_ended() -> bool:
        drain()
        return process.poll() is not None

    start: Any = subprocess.Popen
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with start(command, cwd=ROOT, env=environment(), text=True, **pipes) as process:
        try:
            process.stdin.write(script)
            process.stdin.close()
            wait_until(has_ended, TIMEOUT_S)
            printed: str = process.stdout.read()
        finally:
            process.kill()
    assert process.returncode == 0
    return printed


def documents(text: str) -> list[Any]:
    """Return the JSON documents that were printed one after another."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def stable(value: Any, name: str = "") -> Any:
    """Return a document with the kind of what is different each time in its place."""
    if isinstance(value, dict):
        return {key: stable(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [stable(each) for each in value]
    is_reason = value == "redeemed"  # a problem's code, which is called as a coupon's
    return type(value).__name__ if name in VARYING and not is_reason else value
