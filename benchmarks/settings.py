"""The product's settings, with the bare app, and no sign-up suspicious: all come from one place."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS

INSTALLED_APPS = ["benchmarks.bare", *INSTALLED_APPS]
RELAY_EXCLUDED_APPS = ["bare"]
RISK_INVITER_BURST = 0
RISK_SHARED_ADDRESS = 0
