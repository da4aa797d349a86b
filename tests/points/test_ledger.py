"""Entries are never changed or deleted, by whatever way one tries."""

from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, models, transaction

from points.append_only import protect, unprotect
from points.ledger import AppendOnly
from points.models import Entry, Lot
from tests.points.factories import make_account, make_entry
from tests.registrations import make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry() -> Entry:
    """Return an entry that is in the ledger."""
    made = make_entry(make_account(make_person()))
    Lot.objects.all().delete()  # it must not be what protects the entry
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.save(),
        lambda entry: entry.delete(),
        lambda entry: Entry.objects.update(amount=1),
        lambda entry: Entry.objects.all().delete(),
        lambda entry: Entry.objects.bulk_update([entry], ["amount"]),
        lambda entry: entry.account.entries.update(amount=1),
        lambda entry: entry.account.entries.all().delete(),
    ],
)
def test_the_model_refuses(entry: Entry, change: Callable[[Entry], object]) -> None:
    with pytest.raises(AppendOnly):
        change(entry)

    assert Entry.objects.get().amount == 10


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: models.QuerySet(Entry).filter(pk=entry.pk).update(amount=1),
        lambda entry: models.QuerySet(Entry).filter(pk=entry.pk).delete(),
        lambda entry: Entry.objects.bulk_create(
            [
                Entry(
                    pk=entry.pk,
                    account_id=entry.account_id,
                    number=entry.number,
                    kind="earn",
                    amount=1,
                    balance_after=1,
                    idempotency_key="x",
                )
            ],
            update_conflicts=True,
            update_fields=["amount"],
            unique_fields=["id"],
        ),
        lambda entry: execute("UPDATE points_entry SET amount = 1"),
        lambda entry: execute("UPDATE points_entry SET reason = reason"),
        lambda entry: execute("DELETE FROM points_entry"),
    ],
)
def test_the_database_refuses(entry: Entry, change: Callable[[Entry], object]) -> None:
    with pytest.raises(IntegrityError, match="points_entry is append-only"), transaction.atomic():
        change(entry)

    assert Entry.objects.get().amount == 10


def execute(sql: str) -> None:
    """Run a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_the_protection_can_be_taken_away_and_put_back(entry: Entry) -> None:
    editor = connection.schema_editor()

    unprotect(editor, "points_entry")
    execute("UPDATE points_entry SET reason = 'changed'")
    protect(editor, "points_entry")

    assert Entry.objects.get().reason == "changed"
    with pytest.raises(IntegrityError), transaction.atomic():
        execute("UPDATE points_entry SET reason = 'again'")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no TRUNCATE")
@pytest.mark.django_db(transaction=True)
def test_the_table_cannot_be_emptied(entry: Entry) -> None:
    with pytest.raises(IntegrityError, match="points_entry is append-only"), transaction.atomic():
        execute("TRUNCATE points_entry CASCADE")

    assert Entry.objects.get() == entry
