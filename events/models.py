"""The event log, the deliveries owed to receivers, and their failed attempts."""

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from events.interventions import Intervention, InterventionItem  # noqa: F401  # Django looks here
from events.noted import Minute, SeenWorker  # noqa: F401
from events.tallies import Tally, TallyMark  # noqa: F401
from events.tracing import TRACE_PARENT_LENGTH

TYPE_LENGTH = 100
RECEIVER_LENGTH = 100
TARGET_LENGTH = 64
KEY_LENGTH = 64
QUEUE_LENGTH = 50


class Event(models.Model):
    """A fact, committed together with the change it speaks of. Never changed, never deleted."""

    position = models.BigAutoField(_("position"), primary_key=True)
    event_id = models.UUIDField(_("event id"), unique=True, default=uuid7, editable=False)
    type = models.CharField(_("type"), max_length=TYPE_LENGTH)
    version = models.PositiveSmallIntegerField(_("version"))
    key = models.CharField(_("key"), max_length=KEY_LENGTH)
    data = models.JSONField(_("data"))
    occurred_at = models.DateTimeField(_("occurred at"), default=timezone.now)
    correlation_id = models.CharField(_("correlation id"), max_length=128)
    causation_id = models.UUIDField(_("causation id"), null=True, blank=True)
    # The span that published it, as W3C Trace Context writes it; empty where nobody traced.
    trace_parent = models.CharField(
        _("trace parent"), max_length=TRACE_PARENT_LENGTH, default="", db_default="", blank=True
    )

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("position",)
        indexes: ClassVar = [
            models.Index(fields=["key", "position"], name="event_key"),
            models.Index(fields=["type", "position"], name="event_type"),
            models.Index(fields=["correlation_id"], name="event_correlation"),
            models.Index(
                fields=["causation_id"],
                name="event_causation",
                condition=Q(causation_id__isnull=False),
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(version__gte=1), name="event_version_from_1"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class DeliveryState(models.TextChoices):
    """Where a delivery stands. `done` and `skipped` are final until someone replays them."""

    PENDING = "pending", _("pending")  # to be run at due_at
    RUNNING = "running", _("running")  # claimed by a worker under a lease
    WAITING = "waiting", _("waiting")  # behind an earlier one of its lane
    DONE = "done", _("done")
    DEAD = "dead", _("dead")  # out of attempts; an operator replays or skips it
    SKIPPED = "skipped", _("skipped")  # by a named operator


class Delivery(models.Model):
    """One event owed to one receiver (and, for the relay, one target).

    Type, version, key and position are copied from the event: claiming must not join.
    Each nullable time says which state the row is in, and each partial index hangs on one of them,
    so the cost of claiming does not grow with history.
    """

    event = models.ForeignKey(
        Event,
        on_delete=models.PROTECT,
        to_field="event_id",
        related_name="deliveries",
        verbose_name=_("event"),
        db_index=False,  # the unique constraint below begins with it
    )
    receiver = models.CharField(_("receiver"), max_length=RECEIVER_LENGTH)
    target = models.CharField(_("target"), max_length=TARGET_LENGTH, default="", blank=True)
    queue = models.CharField(_("queue"), max_length=QUEUE_LENGTH)
    type = models.CharField(_("type"), max_length=TYPE_LENGTH)
    version = models.PositiveSmallIntegerField(_("version"))
    key = models.CharField(_("key"), max_length=KEY_LENGTH)
    position = models.BigIntegerField(
        _("position"),
        null=True,
        blank=True,
        help_text=_("Place in its lane; empty when delivered out of order (replay, backfill)."),
    )
    state = models.CharField(
        _("state"),
        max_length=8,
        choices=DeliveryState.choices,
        default=DeliveryState.PENDING,
    )
    due_at = models.DateTimeField(_("due at"), null=True, blank=True, db_default=Now())
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    run_alone = models.BooleanField(
        _("run alone"),
        default=False,
        help_text=_("Claimed without others: its last worker ended without a verdict."),
    )
    lease_token = models.UUIDField(_("lease token"), null=True, blank=True)
    lease_owner = models.CharField(_("lease owner"), max_length=100, default="", blank=True)
    lease_expires_at = models.DateTimeField(_("lease expires at"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=200, default="", blank=True)
    fingerprint = models.CharField(_("fingerprint"), max_length=16, default="", blank=True)
    skipped_by = models.CharField(_("skipped by"), max_length=150, default="", blank=True)
    skip_reason = models.CharField(_("reason"), max_length=200, default="", blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    died_at = models.DateTimeField(
        _("died at"), null=True, blank=True, help_text=_("While it is dead: since when.")
    )

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        indexes: ClassVar = [
            models.Index(
                fields=["receiver", "due_at", "id"],
                name="delivery_due_by_receiver",
                condition=Q(due_at__isnull=False),
            ),
            models.Index(
                fields=["lease_expires_at"],
                name="delivery_lease",
                condition=Q(lease_expires_at__isnull=False),
            ),
            models.Index(
                fields=["receiver", "target", "key", "position"],
                name="delivery_lane",
                condition=Q(finished_at__isnull=True),
            ),
            models.Index(
                fields=["receiver", "target", "key", "position"],
                name="delivery_waiting",
                condition=Q(state="waiting"),
            ),
            models.Index(
                fields=["receiver", "fingerprint", "died_at", "key"],
                name="delivery_dead_by_cause",
                condition=Q(state="dead"),
            ),
            models.Index(
                fields=["receiver", "fingerprint", "due_at", "key"],
                name="delivery_retrying_by_cause",
                condition=Q(state="pending") & ~Q(fingerprint=""),
            ),
            models.Index(fields=["-id"], name="delivery_skipped", condition=Q(state="skipped")),
            models.Index(
                fields=["receiver", "finished_at"],
                name="delivery_finished",
                condition=Q(finished_at__isnull=False),
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["event", "receiver", "target"], name="delivery_once_per_receiver"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", due_at__isnull=False)
                | (~Q(state="pending") & Q(due_at__isnull=True)),
                name="delivery_due_iff_pending",
            ),
            models.CheckConstraint(
                condition=Q(
                    state="running", lease_token__isnull=False, lease_expires_at__isnull=False
                )
                | (
                    ~Q(state="running") & Q(lease_token__isnull=True, lease_expires_at__isnull=True)
                ),
                name="delivery_lease_iff_running",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["done", "skipped"], finished_at__isnull=False)
                | (~Q(state__in=["done", "skipped"]) & Q(finished_at__isnull=True)),
                name="delivery_finished_iff_final",
            ),
            models.CheckConstraint(
                condition=~Q(state="skipped") | ~Q(skipped_by=""),
                name="delivery_skipped_by_someone",
            ),
        ]
        permissions: ClassVar = [
            ("replay_delivery", "Can replay deliveries"),
            ("skip_delivery", "Can skip deliveries"),
        ]

    def __str__(self) -> str:
        return f"{self.receiver} ← {self.type} {self.event_id}"


class Attempt(models.Model):
    """A failed attempt at a delivery. Successful ones leave only `done` behind."""

    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="failures", verbose_name=_("delivery")
    )
    number = models.PositiveIntegerField(_("number"))
    started_at = models.DateTimeField(_("started at"))
    ended_at = models.DateTimeField(_("ended at"))
    error_class = models.CharField(_("error class"), max_length=200)
    error_message = models.TextField(_("error message"), blank=True)
    traceback = models.TextField(_("traceback"), blank=True)
    fingerprint = models.CharField(_("fingerprint"), max_length=16)
    release = models.CharField(_("release"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("failed attempt")
        verbose_name_plural = _("failed attempts")
        ordering = ("started_at",)
        indexes: ClassVar = [
            models.Index(fields=["fingerprint", "started_at"], name="attempt_fingerprint"),
            models.Index(fields=["ended_at"], name="attempt_ended"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(ended_at__gte=F("started_at")), name="attempt_ends"),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.error_class}"


class ReceiverState(models.Model):
    """What operators and workers know of a receiver beyond its code."""

    name = models.CharField(_("name"), max_length=RECEIVER_LENGTH, primary_key=True)
    first_seen_at = models.DateTimeField(_("first seen at"), db_default=Now())
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True)
    paused_by = models.CharField(_("paused by"), max_length=150, default="", blank=True)
    pause_reason = models.CharField(_("reason"), max_length=200, default="", blank=True)
    types_seen = models.JSONField(
        _("types seen"),
        default=dict,
        blank=True,
        help_text=_("When workers first met each type of event that the receiver listens to."),
    )
    pruned_before = models.DateTimeField(
        _("pruned before"),
        null=True,
        blank=True,
        help_text=_("Finished deliveries of events from before this may have been deleted."),
    )
    reconcile_began_at = models.DateTimeField(
        _("reconciliation began at"),
        null=True,
        blank=True,
        help_text=_("When the latest of the daily looks at what it brought about began."),
    )
    reconciled_to = models.BigIntegerField(
        _("reconciled to"),
        null=True,
        blank=True,
        help_text=_("The position of an event which that look has come to; empty: it is through."),
    )

    class Meta:
        verbose_name = _("receiver")
        verbose_name_plural = _("receivers")
        permissions: ClassVar = [("pause_receiver", "Can pause and resume receivers")]

    def __str__(self) -> str:
        return self.name

    def type_seen_at(self, type_: str) -> datetime | None:
        """Return when a worker first saw the receiver listen to a type of event; None: never."""
        if not self.types_seen:  # not noted so far: it listens to what it listened to at first
            return self.first_seen_at
        seen = self.types_seen.get(type_)
        return datetime.fromisoformat(seen) if seen else None


class AbstractProcessedEvent(models.Model):
    """An app's inbox: the events its receivers have applied, written with the effect.

    Each app has a concrete table of its own, so that the row and the effect share a transaction
    even if the app moves to a database of its own one day.
    """

    receiver = models.CharField(_("receiver"), max_length=RECEIVER_LENGTH)
    target = models.CharField(_("target"), max_length=TARGET_LENGTH, default="", blank=True)
    event_id = models.UUIDField(_("event id"))
    processed_at = models.DateTimeField(_("processed at"), db_default=Now())

    class Meta:
        abstract = True
        verbose_name = _("processed event")
        verbose_name_plural = _("processed events")
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["event_id", "receiver", "target"], name="%(app_label)s_processed_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.receiver} ← {self.event_id}"
