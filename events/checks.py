"""Settings and deployments that would lose or repeat work, found before they do."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from events.delivery.claim import LEASE_S
from events.delivery.claimable import open_receivers, stranded
from events.delivery.drain import BEGIN_WITHIN_S, DRAIN_BUDGET_S, LINGER_S
from events.queue import all_periodic_work
from events.receivers import all_queues, all_receivers


@register()
def check_timing(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E003: a drain ends before django-q2 stops it, and a call before it comes again."""
    longest_s = max((receiver.time_limit_s for receiver in all_receivers()), default=0)
    # The last claim is made at the end of the budget, and begun at the last moment.
    drain_s = DRAIN_BUDGET_S + max(BEGIN_WITHIN_S, LINGER_S) + longest_s
    timeout_s, retry_s = settings.Q_CLUSTER["timeout"], settings.Q_CLUSTER["retry"]
    findings: list[CheckMessage] = []
    if drain_s >= timeout_s:
        findings.append(
            Error(
                f"A drain may take {drain_s:g} s, but django-q2 stops it after {timeout_s} s.",
                hint="Raise Q_CLUSTER['timeout'], or lower the receivers' time_limit_s.",
                id="events.E001",
            )
        )
    if timeout_s >= retry_s:
        findings.append(
            Error(
                f"Q_CLUSTER['retry'] ({retry_s} s) is not above 'timeout' ({timeout_s} s).",
                hint="A call of periodic work would come again while it still runs. Raise 'retry'.",
                id="events.E002",
            )
        )
    if BEGIN_WITHIN_S + longest_s >= LEASE_S:
        findings.append(
            Error(
                f"A receiver may run for {longest_s:g} s: begun {BEGIN_WITHIN_S:g} s after the "
                f"claim, it outlives its lease of {LEASE_S:g} s.",
                hint="Lower its time_limit_s.",
                id="events.E003",
            )
        )
    return findings


@register(Tags.database)
def check_open_deliveries(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E004: a receiver that was renamed or removed must not strand its open deliveries."""
    from events.models import Delivery

    if "default" not in (databases or []):
        return []
    if Delivery._meta.db_table not in connections["default"].introspection.table_names():
        return []
    return [
        Error(
            f"The receiver {name!r} has open deliveries, but this release does not know it.",
            hint="Keep it under its old name (`name=`), or deliver or skip them first.",
            id="events.E004",
        )
        for name in stranded(open_receivers())
    ]


@register()
def check_schedules(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E005: work by the clock needs a queue that a cluster of workers serves."""
    served = all_queues()
    return [
        Error(
            f"The schedule {work.name!r} names the queue {work.queue!r}, which no receiver names: "
            "no worker would ever call it.",
            hint=f"Name one of {', '.join(served)}.",
            id="events.E005",
        )
        for work in all_periodic_work()
        if work.queue not in served
    ]
