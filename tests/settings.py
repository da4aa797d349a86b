"""The product's settings, with an app that only tests have: it stands for any app added later."""

import os

from tests.probe.hurry import set_clock

set_clock()
os.environ.setdefault(
    "EMAIL_URL", "dummymail://"
)  # of processes: tests themselves look into a list

from project.settings import *  # noqa: E402, F403
from project.settings import DATABASES, INSTALLED_APPS  # noqa: E402

INSTALLED_APPS = ["tests.probe", *INSTALLED_APPS]

RISK_INVITER_BURST = 0  # worlds of tests have one inviter; tests of the limit set one
RELAY_EXCLUDED_APPS = ["probe"]

if "PROBE_LEASE_S" in os.environ:  # shorter than receivers may run, which a check refuses
    SILENCED_SYSTEM_CHECKS = ["events.E003"]

if "init_command" in DATABASES["default"].get("OPTIONS", {}):
    # Tests kill processes, not machines: a commit need not wait for the disk.
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA recursive_triggers=ON;"
    )
