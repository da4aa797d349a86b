"""Settings of a peer: a database, the apps it needs, and what its documentation says of speed."""

import os
from typing import Any
from urllib.parse import urlsplit

PEER = os.environ["BENCH_PEER"]
REDIS_URL = os.environ.get("REDIS_URL", "")
WORKERS = int(os.environ.get("QUEUE_WORKERS", "2"))

SECRET_KEY = "of no use to anybody"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
INSTALLED_APPS += {
    "django_q_orm": ["django_q"],
    "django_q_redis": ["django_q"],
    "domain_events": ["django_domain_events"],
    "procrastinate": ["procrastinate.contrib.django"],
}.get(PEER, [])


def _database() -> dict[str, Any]:
    url = urlsplit(os.environ["DATABASE_URL"])
    if url.scheme == "sqlite":
        options = {  # as Usher's
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.path, "OPTIONS": options}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.strip("/"),
        "USER": url.username,
        "PASSWORD": url.password,
        "HOST": url.hostname,
        "PORT": url.port,
        "CONN_MAX_AGE": None,  # else each task connects anew
    }


DATABASES = {"default": _database()}

Q_CLUSTER: dict[str, Any] = {
    "name": "peer",
    "workers": WORKERS,
    "timeout": 60,
    "retry": 120,
    "queue_limit": 200,
    "bulk": 20,  # tasks at once: the default is one, and several times slower
    "poll": 0.05,
    "save_limit": -1,  # no row for each success
    "ack_failures": True,
    "log_level": "ERROR",
}
Q_CLUSTER |= {"redis": REDIS_URL} if PEER == "django_q_redis" else {"orm": "default"}

DJANGO_DOMAIN_EVENTS = {"BATCH_SIZE": 500, "NOTIFY_COALESCE_SECONDS": 0.05}
PROCRASTINATE_IMPORT_PATHS = ["benchmarks.peers.procrastinate_pg"]
