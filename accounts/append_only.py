"""Rows that are written once: the histories of accounts."""

from typing import Any

from django.db import models


class AppendOnly(Exception):
    """Rows of a history are neither changed nor deleted."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class AppendOnlyModel(models.Model):
    """A model whose rows stay as they were written."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save a new row. Raises AppendOnly where it is stored already."""
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse. Raises AppendOnly."""
        raise AppendOnly
