"""Campaigns to a file and back: the same again, all or nothing, safe in spreadsheets, on record."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.forms.models import model_to_dict
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from coupons import running
from coupons.campaign_file import (
    AT_ONCE,
    COLUMNS,
    MAX_BYTES,
    MAX_LINES,
    TRANSLATED,
    UnreadableFile,
    every_campaign,
    read,
    written,
)
from coupons.importing import carry_out
from coupons.models import Campaign, CampaignStatusChange
from coupons.planning import Fate, Plan, plan
from spreadsheets import safe_cell, text_of_cell
from tests.coupons.factories import campaign_columns, make_campaign
from tests.parallel import run_at_once
from tests.reconciling import statements

pytestmark = pytest.mark.django_db

IMPORT, EXPORT = "admin:coupons_campaign_import", "admin:coupons_campaign_export"
NEW = {
    "name": "Spring",
    "trigger": "registration",
    "starts_at": "2026-03-01T00:00",
    "basis_points": "1000",
    "valid_days": "30",
}


def file_of(*rows: dict[str, str], delimiter: str = ",") -> bytes:
    """Return a file with a line for each of these."""
    out = StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def exported() -> bytes:
    """Return all campaigns as a file."""
    return "".join(written(every_campaign())).encode()


def planned(*rows: dict[str, str]) -> Plan:
    """Return what would become of these lines."""
    return plan(read(file_of(*rows)))


def problems(*rows: dict[str, str]) -> list[tuple[int, str, str]]:
    """Return line, column and code of everything that is wrong."""
    return [(each.line, each.column, each.code) for each in planned(*rows).problems]


def fates(found: Plan) -> list[str]:
    """Return what becomes of each line."""
    return [row.fate for row in found.rows]


@pytest.fixture
def clerk() -> User:
    """Return a member of staff who may make and change campaigns."""
    clerk = User.objects.create_user("clerk@example.com", "pw", is_staff=True)
    rights = Permission.objects.filter(codename__in=["add_campaign", "change_campaign"])
    clerk.user_permissions.set(rights)
    return clerk


def varied() -> list[Campaign]:
    """Return campaigns that have something in every column."""
    start = datetime(2026, 3, 29, 0, 30, 0, 123456, tzinfo=UTC)
    return [
        make_campaign(
            name="=cmd|' /C calc'!A0",
            description="'=2+2",
            terms='-1, "a"\r\nb;c\n',
            translations={
                "zh-hans": {"name": "＝甲", "description": "'=2+2", "terms": "-一\r\n乙\n"}
            },
        ),
        make_campaign(
            name="春节",
            trigger="manual",
            audience="invited",
            time_zone="Europe/Berlin",
            starts_at=start,
            ends_at=start + timedelta(days=9),
            basis_points=None,
            amount=500,
            min_spend=2000,
            currency="EUR",
            valid_days=None,
            valid_from=start,
            valid_until=start + timedelta(days=30),
            stock=7,
        ),
        make_campaign(name="Half", basis_points=5000, cap=900, currency="EUR", status="ended"),
    ]


def terms_of(campaign: Campaign) -> dict[str, Any]:
    """Return what a file tells of a campaign, but for its status."""
    names = {*COLUMNS, "translations"} - {"id", "status"}
    return model_to_dict(campaign, names)


# --- There and back -------------------------------------------------------------------------------


def test_what_is_exported_changes_nothing_when_it_is_imported(clerk: User) -> None:
    varied()

    found = carry_out(read(exported()), by=clerk)

    assert (found.problems, fates(found)) == ([], ["unchanged"] * 3)
    assert not LogEntry.objects.exists()


def test_what_is_exported_makes_the_same_campaigns_where_there_are_none(clerk: User) -> None:
    before = {campaign.pk: terms_of(campaign) for campaign in varied()}
    content = exported()
    CampaignStatusChange.objects.all().delete()
    Campaign.objects.all().delete()

    found = carry_out(read(content), by=clerk)

    assert (found.problems, fates(found)) == ([], ["new"] * 3)
    assert {campaign.pk: terms_of(campaign) for campaign in Campaign.objects.all()} == before
    assert set(Campaign.objects.values_list("status", flat=True)) == {"draft"}
    again, first = exported().decode(), content.decode()
    for status in ("active", "ended"):
        first = first.replace(f'"{status}"', '"draft"')
    assert again == first


def test_a_spreadsheet_may_change_delimiters_line_ends_and_the_mark(clerk: User) -> None:
    [campaign, *_] = varied()
    rows = list(csv.DictReader(StringIO(exported().decode().removeprefix("\ufeff"))))
    for row in rows:
        for name in ("terms", "terms:zh-hans"):
            row[name] = row[name].replace("\r\n", "\n")

    found = plan(read(file_of(*rows, delimiter=";")))

    assert (found.problems, fates(found)) == ([], ["unchanged"] * 3)
    assert "\r\n" in campaign.terms


def test_no_cell_is_a_formula() -> None:
    varied()

    rows = list(csv.reader(StringIO(exported().decode().removeprefix("\ufeff"))))

    assert rows[1][1:4] == ["'=cmd|' /C calc'!A0", "''=2+2", '\'-1, "a"\r\nb;c\n']
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("text", ["", "a", "=1", "'=1", "''+", "'a", "'", "@x", "\t", "－1", "'\n"])
def test_a_cell_gives_its_text_back(text: str) -> None:
    cell = safe_cell(text)

    assert text_of_cell(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\n", "－"))


def test_an_export_is_read_some_campaigns_at_a_time() -> None:
    columns = campaign_columns()
    Campaign.objects.bulk_create(Campaign(**columns) for _ in range(AT_ONCE + 1))
    with CaptureQueriesContext(connection) as sent:
        parts = written(every_campaign())
        next(parts), next(parts)
        assert len(sent) == 1
        rest = list(parts)

    assert (len(rest), len(sent)) == (AT_ONCE, 3)


# --- What a line does -----------------------------------------------------------------------------


def test_new_campaigns_are_drafts_and_known_by_their_name_the_next_time(clerk: User) -> None:
    lines = read(file_of(NEW, NEW | {"name": "Summer", "valid_days": "10"}))

    first, second = carry_out(lines, by=clerk), carry_out(lines, by=clerk)

    assert (fates(first), fates(second)) == (["new", "new"], ["unchanged", "unchanged"])
    assert {(c.name, c.status) for c in Campaign.objects.all()} == {
        ("Spring", "draft"),
        ("Summer", "draft"),
    }
    assert CampaignStatusChange.objects.count() == 2


def test_columns_that_are_left_out_stay_and_what_changes_is_on_record(clerk: User) -> None:
    campaign = make_campaign(name="Spring", stock=5, cap=900, currency="EUR")
    starts = campaign.starts_at

    found = carry_out(
        read(file_of({"id": str(campaign.pk), "stock": "9", "starts_at": "2026-01-02 03:04"})),
        by=clerk,
    )

    campaign.refresh_from_db()
    assert [(row.fate, sorted(row.changed)) for row in found.rows] == [
        ("changed", ["starts_at", "stock"])
    ]
    assert (campaign.stock, campaign.cap, campaign.status) == (9, 900, "active")
    assert campaign.starts_at == datetime(2026, 1, 2, 3, 4, tzinfo=UTC) != starts
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id, entry.is_change()) == (clerk, str(campaign.pk), True)
    assert entry.get_change_message() == "Changed Starts at and Stock."
    # The audits of registrations know when a campaign's time was edited.
    assert set(running.edits_of_when_and_for_whom()) == {str(campaign.pk)}


@pytest.mark.parametrize(
    ("typed", "zone", "moment"),
    [
        ("2026-03-01", "", "2026-03-01T00:00+00:00"),
        ("2026-03-01T00:00", "Europe/Berlin", "2026-02-28T23:00+00:00"),
        ("2026/3/1 8:30", "Asia/Shanghai", "2026-03-01T00:30+00:00"),
        ("2026-03-01T00:00:00-05:00", "Europe/Berlin", "2026-03-01T05:00+00:00"),
    ],
)
def test_times_are_those_of_the_lines_time_zone(
    clerk: User, typed: str, zone: str, moment: str
) -> None:
    carry_out(read(file_of(NEW | {"starts_at": typed, "time_zone": zone})), by=clerk)

    assert Campaign.objects.get().starts_at == datetime.fromisoformat(moment)


def test_translations_have_a_column_for_each_text_and_language(clerk: User) -> None:
    translated = dict(zip(TRANSLATED, ["春天", "首单九折。", ""], strict=True))
    new = NEW | {"description": "Ten percent off."} | translated

    made = carry_out(read(file_of(new)), by=clerk)
    again = carry_out(read(file_of(new)), by=clerk)

    assert (fates(made), fates(again)) == (["new"], ["unchanged"])
    texts = {"name": "春天", "description": "首单九折。"}
    assert Campaign.objects.get().translations == {"zh-hans": texts}


def test_a_changed_translation_is_told_and_on_record(clerk: User) -> None:
    campaign = make_campaign(translations={"zh-hans": {"name": "新人礼"}})
    row = {"id": str(campaign.pk), "Name:ZH-Hans": " 见面礼 "}

    [planned_row] = carry_out(read(file_of(row)), by=clerk).rows

    campaign.refresh_from_db()
    assert planned_row.changed == ["name:zh-hans"]
    assert campaign.translations == {"zh-hans": {"name": "见面礼"}}
    told = LogEntry.objects.get().get_change_message()
    assert told == "Changed Name (Simplified Chinese)."


def test_translations_stay_where_a_file_has_no_columns_for_them(clerk: User) -> None:
    # The second is of a language that the site had once.
    both = {"zh-hans": {"name": "新人礼"}, "tlh": {"name": "nuqneH"}}
    campaign = make_campaign(stock=5, translations=both)

    found = carry_out(read(file_of({"id": str(campaign.pk), "stock": "9"})), by=clerk)

    campaign.refresh_from_db()
    assert [row.changed for row in found.rows] == [["stock"]]
    assert (campaign.stock, campaign.translations) == (9, both)


def test_a_translation_is_taken_away_by_empty_cells(clerk: User) -> None:
    campaign = make_campaign(translations={"zh-hans": {"name": "新人礼"}})

    carry_out(read(file_of({"id": str(campaign.pk)} | dict.fromkeys(TRANSLATED, ""))), by=clerk)

    campaign.refresh_from_db()
    assert campaign.translations == {}


def test_a_file_has_its_line_numbers_also_after_texts_of_several_lines() -> None:
    content = file_of(
        NEW | {"terms": "one\ntwo\n", "stock": ""}, NEW | {"name": "", "terms": "", "stock": "x"}
    )
    assert [(each.line, each.column) for each in plan(read(content)).problems] == [
        (5, "name"),
        (5, "stock"),
    ]


# --- What is wrong with a line --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": ""}, [("name", "required")]),
        ({"name": "x" * 121}, [("name", "max_length")]),
        ({"trigger": "birthday"}, [("trigger", "invalid_choice")]),
        ({"time_zone": "Mars/Olympus"}, [("time_zone", "time_zone")]),
        ({"starts_at": "03/04/2026"}, [("starts_at", "invalid")]),
        (
            {"starts_at": "2026-03-29T02:30", "time_zone": "Europe/Berlin"},
            [("starts_at", "ambiguous_timezone")],
        ),
        ({"ends_at": "2025-01-01"}, [("", "invalid")]),
        ({"basis_points": "12.5"}, [("basis_points", "invalid")]),
        ({"basis_points": ""}, [("", "invalid")]),
        ({"basis_points": "10001"}, [("", "invalid")]),
        ({"amount": "5"}, [("", "invalid"), ("", "invalid")]),
        ({"stock": "-1"}, [("stock", "min_value")]),
        ({"stock": "9999999999"}, [("stock", "max_value")]),
        ({"currency": "eur"}, [("currency", "invalid")]),
        ({"valid_days": ""}, [("", "invalid")]),
        ({"id": "7"}, [("id", "invalid_id")]),
        ({"status": "running"}, [("status", "unknown_status")]),
        ({"name": "a\x00b"}, [("name", "null_characters_not_allowed")]),
        (
            {"description": "Ten percent off.", "name:zh-hans": "春天"},
            [("description:zh-hans", "not_translated")],
        ),
        (
            {"name:zh-hans": "春天", "terms:zh-hans": "每人一张。"},
            [("terms:zh-hans", "translates_nothing")],
        ),
        ({"name": "", "name:zh-hans": "春天"}, [("name", "required")]),
        ({"name:zh-hans": "长" * 121}, [("name:zh-hans", "max_length")]),
        ({"name:zh-hans": "a\x00b"}, [("name:zh-hans", "null_characters_not_allowed")]),
    ],
)
def test_a_bad_line_is_told_with_column_and_reason(
    changed: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    good = NEW | {"name": "Good"} | dict.fromkeys(changed.keys() - NEW.keys(), "")

    found = problems(good, NEW | changed)

    assert [(column, code) for _, column, code in found] == expected
    assert {line for line, _, _ in found} == {3}


def test_every_bad_line_is_told_and_nothing_is_done(clerk: User) -> None:
    campaign = make_campaign(name="Old", stock=5)
    lines = read(
        file_of(
            NEW | {"name": "Old", "stock": "9"},
            NEW | {"stock": "x"},
            NEW | {"name": "Other", "stock": "y", "trigger": ""},
        )
    )

    found = carry_out(lines, by=clerk)

    told = [(each.line, each.column) for each in found.problems]
    assert told == [(3, "stock"), (4, "trigger"), (4, "stock")]
    campaign.refresh_from_db()
    assert (campaign.stock, Campaign.objects.count()) == (5, 1)
    assert not LogEntry.objects.exists()


def test_what_is_settled_is_refused() -> None:
    issued = make_campaign(name="Issued", stock=5, issued_count=5)
    row = {"id": str(issued.pk), "stock": "", "basis_points": "1000", "status": ""}

    assert problems(row | {"stock": "4"}) == [(2, "stock", "invalid")]
    assert problems(row | {"stock": "5", "basis_points": "2000", "min_spend": "1"}) == [
        (2, "basis_points", "benefit_frozen"),
        (2, "min_spend", "benefit_frozen"),
    ]
    assert problems(row | {"stock": "6", "status": "ended"}) == [(2, "status", "other_status")]


def test_campaigns_that_can_not_be_told_apart_are_refused() -> None:
    for _ in range(2):
        make_campaign(name="Twins")
    known = make_campaign(name="Known")

    assert problems(NEW | {"name": "Twins"}) == [(2, "name", "ambiguous")]
    assert problems(NEW, NEW) == [(3, "", "repeated")]
    rows = ({"id": str(known.pk), "name": "New name"}, {"id": "", "name": "Known"})
    assert problems(*rows) == [(3, "", "repeated")]


def test_an_id_that_is_not_known_makes_the_campaign_of_that_id(clerk: User) -> None:
    pk = uuid4()

    carry_out(read(file_of(NEW | {"id": str(pk)})), by=clerk)

    assert Campaign.objects.get().pk == pk


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"name,price\n", "'price'"),
        (b"name,name\n", "twice"),
        (b"name,name:fr\n", "'name:fr'"),
        (b"stock\n5\n", "neither"),
        (b'name,stock\n"open,5\n', "From line 2 on"),
        (b"x" * (MAX_BYTES + 1), "too large"),
        (b"name\n" + b"a\n" * (MAX_LINES + 1), f"at most {MAX_LINES} campaigns"),
    ],
)
def test_a_file_that_can_not_be_read_says_why(content: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableFile, match=sentence):
        read(content)


def test_a_line_with_too_few_or_too_many_values_is_told() -> None:
    lines = read(b"name,stock\nSpring\n\nSummer,5,6\n")

    assert [(p.line, p.code) for p in plan(lines).problems] == [
        (2, "wrong_columns"),
        (4, "wrong_columns"),
    ]


def test_what_is_so_already_is_looked_at_in_one_query() -> None:
    for number in range(4):
        make_campaign(name=f"Campaign {number}")
    lines = read(exported())

    assert statements(lambda: plan(lines)) == 1
    with transaction.atomic():
        assert statements(lambda: carry_out(lines, by=None)) <= 6


def test_campaigns_are_locked_for_a_statement_a_line_that_changes(clerk: User) -> None:
    old = [make_campaign(name=f"Old {number}", stock=5) for number in range(6)]
    rows = [NEW | {"name": each.name, "stock": "9"} for each in old]
    rows += [NEW | {"name": f"New {number}", "stock": "9"} for number in range(6)]

    with CaptureQueriesContext(connection) as sent:
        carry_out(read(file_of(*rows)), by=clerk)

    texts = [query["sql"] for query in sent]
    begins = max(n for n, text in enumerate(texts) if text.startswith("SAVEPOINT"))
    assert len(texts) - begins <= len(old) + 10
    assert set(Campaign.objects.values_list("stock", flat=True)) == {9}
    assert (Campaign.objects.count(), LogEntry.objects.count()) == (12, 12)


def change_between(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Let somebody change something after each plan, before anything is locked."""

    def plan_and_change(lines: Any) -> Plan:
        made = plan(lines)
        change()
        return made

    monkeypatch.setattr("coupons.importing.plan", plan_and_change)


def test_a_campaign_that_changed_since_it_was_checked_is_checked_again(
    clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_campaign(stock=5)
    lines = read(file_of({"id": str(campaign.pk), "stock": "9"}))
    row = Campaign.objects.filter(pk=campaign.pk)
    change_between(monkeypatch, lambda: row.update(terms="One each."))

    carry_out(lines, by=clerk)

    campaign.refresh_from_db()
    assert (campaign.stock, campaign.terms) == (9, "One each.")


def test_coupons_that_are_issued_meanwhile_are_within_the_stock(
    clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_campaign(stock=9, issued_count=1), make_campaign(stock=9, issued_count=1)
    lines = read(file_of(*({"id": str(each.pk), "stock": "5"} for each in (one, other))))
    change_between(monkeypatch, lambda: Campaign.objects.filter(pk=other.pk).update(issued_count=6))

    found = carry_out(lines, by=clerk)

    assert [(each.line, each.column) for each in found.problems] == [(3, "stock")]
    assert set(Campaign.objects.values_list("stock", "issued_count")) == {(9, 1), (9, 6)}


def test_what_never_stays_as_it_was_checked_is_refused(
    clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_campaign(stock=5)
    change_between(monkeypatch, lambda: Campaign.objects.update(description=str(uuid4())))

    found = carry_out(read(file_of({"id": str(campaign.pk), "stock": "9"})), by=clerk)

    assert [each.code for each in found.problems] == ["changing"]
    assert Campaign.objects.get().stock == 5
    assert not LogEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_file_twice_at_once_makes_its_campaigns_once(clerk: User) -> None:
    lines = read(file_of(NEW))

    run_at_once([lambda: carry_out(lines, by=clerk)] * 2)

    assert Campaign.objects.count() == 1


# --- The commands ---------------------------------------------------------------------------------


def run(command: str, *arguments: object) -> str:
    """Run a command; return what it prints."""
    out = StringIO()
    call_command(command, *map(str, arguments), stdout=out)
    return out.getvalue()


def test_the_commands_write_and_read_the_same_file(tmp_path: Path, clerk: User) -> None:
    varied()
    path = tmp_path / "campaigns.csv"

    assert run("export_campaigns", path) == f"3 campaigns are in {path}.\n"
    assert run("export_campaigns", "-").encode() == path.read_bytes() == exported()
    Campaign.objects.filter(name="Half").update(name="Changed since")
    told = run("import_campaigns", path, "--dry-run")
    assert "changed, name 'Changed since' → 'Half'" in told
    told = run("import_campaigns", path, "--by", "Clerk@example.com", "--json")

    document = json.loads(told)
    assert [document[fate] for fate in Fate] == [0, 1, 2]
    assert [row["changed"] for row in document["campaigns"]] == [[], [], ["name"]]
    assert document["campaigns"][2]["changes"] == [
        {"column": "name", "old": "Changed since", "new": "Half"}
    ]
    assert Campaign.objects.filter(name="Half").exists()
    assert LogEntry.objects.get().user == clerk


def test_bad_lines_end_the_command_with_1(tmp_path: Path, clerk: User) -> None:
    path = tmp_path / "campaigns.csv"
    path.write_bytes(file_of(NEW | {"stock": "many"}))
    out = StringIO()

    with pytest.raises(CommandError, match="Nothing was written") as refusal:
        call_command("import_campaigns", str(path), "--by", clerk.email, stdout=out)

    assert refusal.value.returncode == 1
    assert out.getvalue().startswith("line 2: stock: Enter a whole number.\n")
    assert not Campaign.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["import_campaigns", "{good}"], "--by EMAIL"),
        (["import_campaigns", "{good}", "--by", "nobody@example.com"], "is nobody who may"),
        (["import_campaigns", "{good}.not"], "cannot be read: No such file"),
        (["import_campaigns", "{bad}", "--dry-run"], "'price'"),
        (["export_campaigns", "{good}"], "cannot be written: File exists"),
        (["export_campaigns", "-", "--json"], "--json needs a file"),
    ],
)
def test_commands_that_are_misused_end_with_2(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_bytes(file_of(NEW))
    bad.write_bytes(b"name,price\n")

    with pytest.raises(CommandError, match=sentence) as refusal:
        run(*(each.format(good=good, bad=bad) for each in arguments))

    assert refusal.value.returncode == 2


# --- The pages ------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


def upload(content: bytes) -> dict[str, Any]:
    """Return what a browser sends for a chosen file."""
    return {"file": SimpleUploadedFile("campaigns.csv", content)}


def test_the_page_sends_the_file_as_it_is_read(staff: Client) -> None:
    make_campaign()

    answer = staff.get(reverse(EXPORT))

    assert answer.streaming
    assert b"".join(answer.streaming_content) == exported()  # type: ignore[attr-defined]
    assert answer["Content-Disposition"].startswith('attachment; filename="campaigns-20')
    assert staff.post(reverse(EXPORT)).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_an_asynchronous_server_is_sent_it_piece_by_piece(async_client: AsyncClient) -> None:
    async_client.force_login(User.objects.create_superuser("staff@example.com", "pw"))

    async def ask() -> list[bytes]:
        answer: Any = await async_client.get(reverse(EXPORT))
        return [part async for part in answer.streaming_content]

    make_campaign()
    parts = async_to_sync(ask)()
    assert len(parts) == 2
    assert b"".join(parts) == exported()


def test_a_file_is_shown_first_and_then_brought_in(staff: Client) -> None:
    old = make_campaign(name="Old", stock=5)
    same = make_campaign(name="Same", stock=5)
    rows = [
        {"id": str(each.pk), "name": each.name, "starts_at": each.starts_at.isoformat()}
        for each in (same, old)
    ]
    terms = {"trigger": "registration", "basis_points": "1000", "valid_days": "30", "stock": "5"}
    rows = [row | terms for row in rows]
    rows[1]["stock"] = "9"
    content = file_of(*rows, NEW | {"id": "", "stock": ""})
    assert staff.get(reverse(IMPORT)).status_code == 200

    looked = staff.post(reverse(IMPORT), upload(content))
    html = looked.content.decode()
    assert "made, as a draft" in html
    assert "<code>stock</code>: <del>5</del> → <ins>9</ins>" in html
    assert Campaign.objects.count() == 2
    confirmed = {"content": looked.context["content"], "confirmed": "1"}
    confirmed["digest"] = looked.context["plan"].digest
    done = staff.post(reverse(IMPORT), confirmed, follow=True)
    again = staff.post(reverse(IMPORT), confirmed, follow=True)

    assert "1 made, 1 changed, 1 as they were." in done.content.decode()
    assert "0 made, 0 changed, 3 as they were." in again.content.decode()
    old.refresh_from_db()
    assert (old.stock, Campaign.objects.count(), LogEntry.objects.count()) == (9, 3, 2)


@pytest.mark.parametrize("digest", [True, False])
def test_what_changed_since_it_was_shown_is_shown_again(staff: Client, digest: bool) -> None:
    campaign = make_campaign(stock=5)
    looked = staff.post(reverse(IMPORT), upload(file_of({"id": str(campaign.pk), "stock": "9"})))
    confirmed = {"content": looked.context["content"], "confirmed": "1"}
    if digest:
        confirmed["digest"] = looked.context["plan"].digest
        assert f'value="{confirmed["digest"]}"' in looked.content.decode()
        Campaign.objects.update(stock=7)

    again = staff.post(reverse(IMPORT), confirmed)

    html = again.content.decode()
    assert "Nothing was done: campaigns changed since you looked." in html
    assert f"<del>{7 if digest else 5}</del> → <ins>9</ins>" in html
    assert Campaign.objects.get().stock == (7 if digest else 5)
    confirmed["digest"] = again.context["plan"].digest
    assert staff.post(reverse(IMPORT), confirmed).status_code == 302
    assert Campaign.objects.get().stock == 9


def test_the_page_lists_what_is_wrong_and_offers_no_import(staff: Client) -> None:
    content = file_of(NEW | {"stock": "x"}, NEW | {"name": "", "stock": "<b>"})

    html = staff.post(reverse(IMPORT), upload(content)).content.decode()

    assert "3 things are wrong, so nothing is done." in html
    assert "Enter a whole number." in html
    assert 'name="confirmed"' not in html


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (lambda: {}, "Choose a file."),
        (lambda: {"content": "%%", "confirmed": "1"}, "Choose the file again."),
        (lambda: upload(b"name,price\n"), "These columns are not known"),
        (lambda: upload(b"x" * (MAX_BYTES + 1)), "too large"),
    ],
)
def test_a_file_that_is_none_gets_a_sentence(
    staff: Client, sent: Callable[[], dict[str, Any]], sentence: str
) -> None:
    answer = staff.post(reverse(IMPORT), sent())

    assert answer.status_code == 200
    assert sentence in answer.content.decode()


def test_who_may_only_look_may_export_but_not_import(client: Client) -> None:
    viewer = User.objects.create_user("viewer@example.com", "pw", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_campaign"))
    client.force_login(viewer)

    html = client.get(reverse("admin:coupons_campaign_changelist")).content.decode()

    assert reverse(EXPORT) in html
    assert reverse(IMPORT) not in html
    assert client.get(reverse(EXPORT)).status_code == 200
    assert client.get(reverse(IMPORT)).status_code == 403
    assert client.post(reverse(IMPORT), upload(file_of(NEW))).status_code == 403
    assert not Campaign.objects.exists()
