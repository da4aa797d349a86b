"""What is committed for deployments fits the code: variables, commands, ports, what is copied."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = ("migrate", "command", "web", "worker")

# Of compose.yaml itself: what its own settings are made of.
INTERPOLATED_ONLY = {"DOMAIN", "POSTGRES_PASSWORD"}


def documented() -> set[str]:
    """Return the variables that docs/settings.md has a row for."""
    return set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs/settings.md").read_text(), re.M))


def dockerfile() -> str:
    """Return the Dockerfile with its continued lines joined."""
    return (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def command_of(instruction: str) -> list[str]:
    """Return the last JSON command of an instruction."""
    found = re.findall(rf"^{instruction}.*?(\[.*\])$", dockerfile(), re.M)
    command: list[str] = json.loads(found[-1])
    return command


@pytest.mark.parametrize("name", OURS)
def test_services_are_given_documented_variables_only(name: str) -> None:
    assert COMPOSE["services"][name]["environment"].keys() <= documented()


def test_the_image_sets_documented_variables_only() -> None:
    env = re.search(r"^ENV (.*)$", dockerfile(), re.M)
    assert env
    names = set(re.findall(r"(\w+)=", env[1]))

    assert names - {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"} <= documented()


def test_every_value_that_compose_needs_is_in_the_example() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    example = set(re.findall(r"^(\w+)=", (DEPLOY / "usher.env.example").read_text(), re.M))

    assert needed <= example <= documented() | INTERPOLATED_ONLY


def test_there_are_two_of_web_and_workers_and_one_migrates_before() -> None:
    services = COMPOSE["services"]

    assert [services[name]["deploy"]["replicas"] for name in ("web", "worker")] == [2, 2]
    for name in ("web", "worker"):
        condition = services[name]["depends_on"]["migrate"]["condition"]
        assert condition == "service_completed_successfully"
    assert services["migrate"]["restart"] == "no"


def test_networks_volumes_and_dependencies_are_declared() -> None:
    for service in COMPOSE["services"].values():
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert service.get("depends_on", {}).keys() <= COMPOSE["services"].keys()
        sources = {volume.split(":")[0] for volume in service.get("volumes", [])}
        named = {source for source in sources if not source.startswith(".")}
        assert named <= COMPOSE["volumes"].keys()
        assert all((ROOT / source).exists() for source in sources - named)


def test_the_proxy_is_the_trusted_one_and_asks_the_web_service() -> None:
    (front,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    caddyfile = (DEPLOY / "Caddyfile").read_text()

    assert COMPOSE["services"]["web"]["environment"]["TRUSTED_PROXIES"] == front["subnet"]
    assert "dynamic a web 8000" in caddyfile
    assert "ports" not in COMPOSE["services"]["web"]  # nobody gets past the proxy


def test_the_worker_has_time_to_drain_before_it_is_killed() -> None:
    worker = COMPOSE["services"]["worker"]
    grace = int(worker["command"][worker["command"].index("--grace") + 1])

    assert grace < int(worker["stop_grace_period"].removesuffix("s"))


def test_the_image_serves_where_its_health_is_asked_for() -> None:
    web, health = command_of("CMD"), command_of("HEALTHCHECK")

    port = web[web.index("--port") + 1]
    assert f"127.0.0.1:{port}/livez" in health[-1]
    compile(health[-1], "HEALTHCHECK", "exec")
    assert re.search(r"^USER [1-9]\d*$", dockerfile(), re.M)  # a number: never root
    assert re.search(r"manage\.py collectstatic", dockerfile())


def test_units_and_image_start_the_web_alike() -> None:
    unit = (DEPLOY / "usher-web.service").read_text()
    (start,) = re.findall(r"^ExecStart=.*-m (uvicorn .*)$", unit, re.M)
    image = " ".join(command_of("CMD"))

    for option in ("project.asgi:application", "--no-proxy-headers", "--log-level warning"):
        assert option in start
        assert option in image


def test_what_runs_is_in_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    top = {path.partition("/")[0] for path in tracked}
    # What production imports and reads: every package and module but those of development.
    needed = {name for name in top if (ROOT / name / "__init__.py").exists()}
    needed |= {name for name in top if name.endswith(".py")}
    needed = (needed - {"tests", "benchmarks"}) | {"templates", "static", "locale"}

    assert needed & set(ignored) == set()
    assert {"tests", "var", "*.env", ".*"} <= set(ignored)  # no secret, no database


@pytest.mark.parametrize("page", ["deploying.md", "operations.md"])
def test_the_commands_that_texts_name_exist(page: str) -> None:
    named = re.findall(r"manage\.py ([a-z]\w+)", (ROOT / "docs" / page).read_text())

    assert named
    assert set(named) <= get_commands().keys()


def test_sockets_are_bounded_wherever_the_web_server_is_started() -> None:
    bounds = ["--ws-max-size", "1024", "--ws-per-message-deflate", "false"]
    unit = (DEPLOY / "usher-web.service").read_text()
    development = (ROOT / "project/development.py").read_text()

    assert " ".join(bounds) in " ".join(command_of("CMD"))
    assert " ".join(bounds) in unit
    assert ", ".join(f'"{bound}"' for bound in bounds) in development


def test_every_setting_of_the_file_reaches_our_containers() -> None:
    for name in OURS:
        assert COMPOSE["services"][name]["env_file"] == "usher.env"
