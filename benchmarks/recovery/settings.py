"""The product's settings, with the tests' probe: its receivers fail on demand."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS

INSTALLED_APPS = ["tests.probe", *INSTALLED_APPS]
