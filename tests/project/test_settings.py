"""Settings keep what the environment says, and refuse what would be unsafe."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PRINT = "import json; from project import settings; print(json.dumps(settings.{}, default=str))"
SOUND = {
    "USHER_ENV": "production",
    "SECRET_KEY": "a-secret-of-its-own-" * 4,
    "DATABASE_URL": "postgres://usher@127.0.0.1:1/usher",
    "PASSWORD_HASHER": "argon2",
    "RATE_LIMITS": "on",
}


def load(tmp_path: Path, expression: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in another process and print one of them."""
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", PRINT.format(expression)],
        env={**inherited, "USHER_VAR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("worker", ["0", "1"])
def test_options_of_the_database_url_are_kept(worker: str, tmp_path: Path) -> None:
    url = "postgres://usher@db.example/usher?sslmode=verify-full&sslrootcert=/etc/ca.pem"

    loaded = load(tmp_path, "DATABASES", DATABASE_URL=url, USHER_WORKER=worker)

    options = json.loads(loaded.stdout)["default"]["OPTIONS"]
    assert options["sslmode"] == "verify-full"
    assert options["sslrootcert"] == "/etc/ca.pem"
    assert ("pool" in options) == (worker == "0")  # unsafe under fork, which workers do


def options(tmp_path: Path, **environment: str) -> dict[str, Any]:
    """Return the options of the database connections of a process."""
    loaded = load(tmp_path, "DATABASES", DATABASE_URL="postgres://usher@db/usher", **environment)
    found: dict[str, Any] = json.loads(loaded.stdout)["default"]["OPTIONS"]
    return found


def test_the_web_gives_a_silent_database_up_and_commands_wait(tmp_path: Path) -> None:
    web = options(tmp_path, USHER_WEB="1")
    command = options(tmp_path)
    worker = options(tmp_path, USHER_WEB="1", USHER_WORKER="1")

    assert "TimedConnection" in web["pool"]["connection_class"]
    assert "statement_timeout" in web["options"]
    assert "connection_class" not in command["pool"]
    assert "statement_timeout" not in command["options"] + worker["options"]
    assert "idle_in_transaction_session_timeout" in worker["options"]


def test_production_starts_with_sound_settings(tmp_path: Path) -> None:
    loaded = load(tmp_path, "PRODUCTION", **SOUND)

    assert (loaded.returncode, loaded.stdout) == (0, "true\n")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "development-only-x"}, "SECRET_KEY is the development key"),
        ({"PASSWORD_HASHER": "cheap"}, "PASSWORD_HASHER may only be 'argon2'"),
        ({"RATE_LIMITS": "off"}, "RATE_LIMITS may not be 'off'"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT is 'xml'"),
        ({"USHER_ENV": "staging"}, "USHER_ENV is 'staging'"),
    ],
)
def test_production_refuses_to_start_unsafe(
    changed: dict[str, str], said: str, tmp_path: Path
) -> None:
    loaded = load(tmp_path, "PRODUCTION", **{**SOUND, **changed})

    assert loaded.returncode == 1
    assert said in loaded.stderr


def test_the_development_key_is_made_once_and_kept(tmp_path: Path) -> None:
    first = load(tmp_path, "SECRET_KEY").stdout
    second = load(tmp_path, "SECRET_KEY").stdout

    assert first == second
    assert "development-only-" in first
