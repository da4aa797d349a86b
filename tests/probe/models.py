"""Effects without any unique constraint: what the backbone does twice shows twice."""

from django.db import models

from events.models import AbstractProcessedEvent


class ProcessedEvent(AbstractProcessedEvent):
    """The probe's inbox."""


class Effect(models.Model):
    """One run of a receiver that committed."""

    receiver = models.CharField(max_length=50)
    event_id = models.UUIDField()
    key = models.CharField(max_length=64)
    number = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.receiver} {self.number}"


class Fault(models.Model):
    """While a row is there, the receivers misbehave on events with this number."""

    number = models.IntegerField()
    kind = models.CharField(max_length=20)

    def __str__(self) -> str:
        return f"{self.kind} on {self.number}"
