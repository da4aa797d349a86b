"""Is the process up, and can it serve? For load balancers and orchestrators."""

import logging
from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from project.outages import RETRY_AFTER_S

logger = logging.getLogger(__name__)

# Set once all are applied: a release's migrations do not become unapplied while it runs.
_migrated = False


@require_safe
@never_cache
def livez(request: HttpRequest) -> HttpResponse:
    """Answer 200 while the process serves. It asks no database: a restart would not heal one."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when the database answers and has this release's migrations; 503 otherwise."""
    checks = {"database": "ok", "migrations": "ok"}
    try:
        checks["migrations"] = "ok" if _is_migrated() else "pending"
    except DatabaseError:
        logger.warning("The database does not answer.", exc_info=True)
        checks = {"database": "unavailable", "migrations": "unknown"}
    if set(checks.values()) == {"ok"}:
        return JsonResponse({"status": "ok", "checks": checks})
    answer = JsonResponse({"status": "unavailable", "checks": checks}, status=503)
    answer["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _is_migrated() -> bool:
    global _migrated
    if _migrated:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    else:
        applied = MigrationRecorder(connection).applied_migrations()
        _migrated = _migrations_of_this_release() <= applied.keys()
    return _migrated


@cache
def _migrations_of_this_release() -> frozenset[tuple[str, str]]:
    # Without a connection the loader only reads the files.
    return frozenset(MigrationLoader(None).disk_migrations)
