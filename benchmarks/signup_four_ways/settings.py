"""The product's settings, with one page instead of its own."""

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS

INSTALLED_APPS = ["benchmarks.signup_four_ways", *INSTALLED_APPS]
RELAY_EXCLUDED_APPS = ["bare", "fourways"]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]  # allauth insists
ROOT_URLCONF = "benchmarks.signup_four_ways.views"
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]
