"""The locked versions are not among those with known holes."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.processes import ROOT

FLOORS = {  # of each series in use
    "django": ["5.2.17", "6.0.8"],  # CVE-2026-15920: addresses of endpoints in the admin
    "djangorestframework": ["3.18.2"],  # CVE-2026-114136 and -114138: charsets, Accept
    "redis": ["4.5.4"],  # CVE-2023-28859: answers meant for others
}


def locked(path: Path) -> list[Requirement]:
    """Return what a lock pins; one name may have several versions, for several Pythons."""
    return [
        Requirement(line.removesuffix("\\").strip())
        for line in path.read_text().splitlines()
        if re.match(r"[a-z0-9]", line)
    ]


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_hole_is_locked(name: str) -> None:
    floors = [Version(floor) for floor in FLOORS[name]]

    versions = sorted(
        Version(next(iter(r.specifier)).version)
        for r in locked(ROOT / "requirements.txt")
        if r.name == name
    )

    assert len(versions) == len(floors)
    assert all(version >= floor for version, floor in zip(versions, floors, strict=True))


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-observability.txt"])
def test_every_dependency_is_pinned_by_its_hash(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert text.count("==") == len(locked(ROOT / lock))
    assert all(block.count("--hash=sha256:") for block in re.split(r"\n(?=[a-z0-9])", text)[1:])


def test_what_is_optional_can_be_installed_beside_the_rest() -> None:
    base = {r.name: str(r.specifier) for r in locked(ROOT / "requirements.txt")}
    optional = {r.name: str(r.specifier) for r in locked(ROOT / "requirements-observability.txt")}

    assert {"opentelemetry-sdk", "sentry-sdk"} <= optional.keys()
    assert {n: v for n, v in optional.items() if base.get(n, v) != v} == {}
