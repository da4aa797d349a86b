"""The product's settings, with an app that only tests have: it stands for any app added later."""

from project.settings import *  # noqa: F403
from project.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = ["tests.probe", *INSTALLED_APPS]

if "init_command" in DATABASES["default"].get("OPTIONS", {}):
    # Tests kill processes, not machines: a commit need not wait for the disk.
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA recursive_triggers=ON;"
    )
