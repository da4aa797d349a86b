"""Coupons, and points with balances, at their barest."""

from django.db import models
from uuid_utils.compat import uuid7

from events.models import AbstractProcessedEvent


class ProcessedEvent(AbstractProcessedEvent):
    """The inbox."""


class BareSignUp(models.Model):
    """What a publisher changes."""

    user_id = models.UUIDField(primary_key=True)

    def __str__(self) -> str:
        return str(self.user_id)


class BareCoupon(models.Model):
    """What somebody got."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    user_id = models.UUIDField()
    code = models.CharField(max_length=16)

    def __str__(self) -> str:
        return str(self.pk)


class BareEntry(models.Model):
    """A line of a ledger."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    user_id = models.UUIDField()
    points = models.IntegerField()

    def __str__(self) -> str:
        return str(self.pk)


class BareBalance(models.Model):
    """The sum of somebody's entries."""

    user_id = models.UUIDField(primary_key=True)
    points = models.IntegerField()

    def __str__(self) -> str:
        return str(self.pk)
