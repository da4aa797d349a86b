"""Importing people from a file: as if each had signed up, and every line accounted for."""

import csv
import json
import os
import re
import signal
import stat
import tracemalloc
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import importing, services
from accounts.import_file import MAX_LINE_BYTES, ImportFile
from accounts.models import Referral, User
from coupons.models import Coupon
from tests.accounts.conftest import PASSWORD, Register, close, registered_events, stored
from tests.conftest import Drain
from tests.coupons.factories import make_campaign

pytestmark = pytest.mark.django_db(transaction=True)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file of these lines, and returns its path."""

    def run(*lines: str | bytes, name: str = "people.csv") -> Path:
        path = tmp_path / name
        raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
        path.write_bytes(b"\n".join(raw) + b"\n")
        return path

    return run


def import_users(path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and its JSON document."""
    output = StringIO()
    code = 0
    try:
        call_command("import_users", str(path), "--json", *arguments, stdout=output)
    except CommandError as error:
        code = error.returncode
    return code, json.loads(output.getvalue() or "{}")


def results(path: str) -> list[dict[str, str]]:
    """Return the lines of a result file."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def outcomes(path: Path, *arguments: str) -> dict[int, str]:
    """Import a file and return the code, or the outcome where there is none, of each line."""
    _code, document = import_users(path, *arguments)
    rows = results(document["results"])
    return {int(row["line"]): row["code"] or row["outcome"] for row in rows}


def test_everybody_in_the_file_is_registered(write: Write) -> None:
    path = write("email", "mei@example.com", "BO@Example.com")

    code, document = import_users(path)

    assert (code, document["registered"], document["refused"]) == (0, 2, 0)
    assert sorted(User.objects.values_list("email", flat=True)) == [
        "bo@example.com",
        "mei@example.com",
    ]
    assert len(registered_events()) == 2


def test_an_import_sets_off_what_a_sign_up_sets_off(
    write: Write, inviter: User, drain: Drain
) -> None:
    make_campaign()
    path = write("email,referral_code", f"mei@example.com,{inviter.referral_code}")

    import_users(path)
    drain()

    mei = User.objects.get(email="mei@example.com")
    assert Referral.objects.get(invitee=mei).inviter == inviter
    assert Coupon.objects.filter(user=mei).count() == 1


def test_the_same_file_again_changes_nothing(write: Write) -> None:
    path = write("email", "mei@example.com", "bo@example.com")
    import_users(path)
    before = stored()

    code, document = import_users(path)

    assert (code, document["registered"], document["already_there"]) == (0, 0, 2)
    assert stored() == before


def test_an_earlier_result_file_is_never_written_over(write: Write) -> None:
    path = write("email", "mei@example.com")

    _code, first = import_users(path)
    _code, second = import_users(path)

    assert [Path(d["results"]).name for d in (first, second)] == [
        "people.results.csv",
        "people.results-2.csv",
    ]
    assert results(first["results"])[0]["outcome"] == "registered"
    with pytest.raises(CommandError, match="there already") as refusal:
        call_command("import_users", str(path), "--results", first["results"])
    assert refusal.value.returncode == 2


def test_the_result_file_is_for_its_owner_alone(write: Write) -> None:
    _code, document = import_users(write("email", "mei@example.com"))

    assert stat.S_IMODE(os.stat(document["results"]).st_mode) == 0o600


BAD_LINES = [
    ("not an address,,", "invalid"),
    (",NOBODY23,", "required"),
    (f"{'x' * 260}@example.com,,", "max_length"),
    ("mei@mailinator.com,,", "disposable"),
    ("mei@example.com,NOBODY23,", "unknown_code"),
    ("mei@example.com,,tlh", "unknown_language"),
    ("m\x00ei@example.com,,", "invalid_characters"),
    (b"m\xffei@example.com,,", "not_utf8"),
    ("mei@example.com", "wrong_columns"),
    ("mei@example.com,,,", "wrong_columns"),
    ('"mei@example.com,,', "malformed"),
    (f"mei@example.com,{'x' * MAX_LINE_BYTES},", "line_too_long"),
    (b"=cmd|' /C calc'!A0,,", "invalid"),
]


@pytest.mark.parametrize(("line", "expected"), BAD_LINES)
def test_a_bad_line_is_told_and_leaves_no_trace(
    write: Write, line: str | bytes, expected: str
) -> None:
    path = write("email,referral_code,language", line, "bo@example.com,,en")

    code, document = import_users(path)

    assert code == 1
    (bad, good) = results(document["results"])
    assert (bad["line"], bad["outcome"], bad["code"]) == ("2", "refused", expected)
    assert bad["reason"]
    assert (good["line"], good["outcome"]) == ("3", "registered")
    assert stored() == {"User": 1, "EmailAddress": 1, "Referral": 0, "Event": 1} | {
        "Delivery": stored()["Delivery"]
    }
    assert [event["user_id"] for event in registered_events()] == [good["id"]]


def test_an_address_that_is_there_twice_is_registered_once(write: Write) -> None:
    path = write("email", "mei@example.com", "bo@example.com", "MEI@example.com")

    code, document = import_users(path)

    assert code == 1
    assert results(document["results"])[2] | {"email": ""} == {
        "line": "4",
        "email": "",
        "outcome": "refused",
        "code": "repeated",
        "reason": "The same address is on line 2.",
        "id": "",
    }
    assert User.objects.count() == 2


def test_the_code_of_a_closed_account_is_refused(write: Write, inviter: User) -> None:
    close(inviter)
    path = write("email,referral_code", f"mei@example.com,{inviter.referral_code}")

    assert outcomes(path) == {2: "inviter_inactive"}
    assert not User.objects.filter(email="mei@example.com").exists()


def test_lenient_registers_as_the_page_does(write: Write, inviter: User) -> None:
    path = write(
        "email,referral_code",
        "mei@example.com,NOBODY23",
        f"bo@mailinator.com,{inviter.referral_code}",
    )

    code, document = import_users(path, "--lenient")

    assert (code, document["registered"]) == (0, 2)
    assert [row["code"] for row in results(document["results"])] == ["unknown_code", ""]
    assert Referral.objects.get().status == "flagged"


def test_reasons_are_told_in_the_chosen_language(write: Write) -> None:
    path = write("email", "not an address")

    _code, document = import_users(path, "--language", "zh-hans")

    assert "请" in results(document["results"])[0]["reason"]


def test_no_cell_of_the_results_is_a_formula(write: Write) -> None:
    path = write("email", "=1+1", "@x", "+49", "-1", '"\tx"')

    _code, document = import_users(path)

    assert {row["email"][0] for row in results(document["results"])} <= {"'", "x"}
    assert not re.search(r'(^|,)"?[=+@\t-]', Path(document["results"]).read_text("utf-8"), re.M)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"name\nmei@example.com\n", "names no column 'email'"),
        (b"email,name\nmei@example.com,Mei\n", "not known: 'name'"),
        (b"email,email\n", "twice"),
        ("email\nmei@example.com\n".encode("utf-16"), "UTF-16"),
        (b"em\xffail\n", "UTF-8"),
        (b"", "names no column 'email'"),
    ],
)
def test_a_file_that_cannot_be_understood_is_wrong_usage(
    write: Write, tmp_path: Path, raw: bytes, why: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(raw)

    with pytest.raises(CommandError, match=why) as refusal:
        call_command("import_users", str(path))

    assert refusal.value.returncode == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert import_users(tmp_path / "none.csv")[0] == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfemail,language\r\nmei@example.com,zh-CN\r\n",
        b"Email;Language\nmei@example.com;zh_Hans\n\n;\n",
        b"language\temail\nzh-hans\t mei@example.com \n",
        b'"email","language"\n"mei@example.com","zh"',
    ],
)
def test_what_spreadsheets_write_is_understood(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(raw)

    code, document = import_users(path)

    assert (code, document["lines"]) == (0, 1)
    assert User.objects.get(email="mei@example.com").language == "zh-hans"


def test_a_dry_run_tells_the_same_and_writes_nothing(write: Write, inviter: User) -> None:
    path = write("email,referral_code", "mei@example.com,", "bo@example.com,NOBODY23", "x,")
    before = stored()

    code, document = import_users(path, "--dry-run")

    assert (code, document["registered"], document["refused"]) == (1, 1, 2)
    assert [(p["line"], p["code"]) for p in document["problems"]] == [
        (3, "unknown_code"),
        (4, "invalid"),
    ]
    assert stored() == before
    assert (document["results"], list(path.parent.iterdir())) == (None, [path])


def test_the_summary_for_people_names_lines_and_no_address(write: Write) -> None:
    path = write("email", "mei@example.com", "not an address")
    output = StringIO()

    with pytest.raises(CommandError, match="1 lines are refused"):
        call_command("import_users", str(path), stdout=output)

    told = output.getvalue()
    assert "line 3: refused: Enter a valid e-mail address" in told
    assert "2 lines: 1 registered, 0 there already, 1 refused." in told
    assert "mei@" not in told


def test_who_has_no_password_sets_one_by_resetting_it(write: Write, client: Client) -> None:
    import_users(write("email", "mei@example.com"))
    mei = User.objects.get(email="mei@example.com")
    assert not mei.has_usable_password()

    client.post("/accounts/password/reset/", {"email": mei.email})
    found = re.search(
        r"https?://[^/]+(/accounts/password/reset/key/\S+)", str(mail.outbox[-1].body)
    )
    assert found
    form = client.get(found[1])["Location"]
    client.post(form, {"password1": PASSWORD, "password2": PASSWORD})

    assert client.login(email=mei.email, password=PASSWORD)


def test_a_password_in_the_file_is_judged_hashed_and_never_told(write: Write) -> None:
    path = write("email,password", f"mei@example.com,{PASSWORD}", "bo@example.com,short")

    code, document = import_users(path)

    assert code == 1
    assert User.objects.get().check_password(PASSWORD)
    text = Path(document["results"]).read_text("utf-8")
    assert PASSWORD not in text
    assert results(document["results"])[1]["code"] == "password_too_short"
    assert "short," not in text.splitlines()[2].partition("refused")[0]


def test_nobody_is_sent_a_mail(write: Write, verification: str) -> None:
    import_users(write("email", "mei@example.com"))

    assert mail.outbox == []


def test_where_addresses_must_be_confirmed_people_wait(
    write: Write, mandatory: None, inviter: User
) -> None:
    path = write("email,referral_code", f"mei@example.com,{inviter.referral_code}")

    code, document = import_users(path)

    assert (code, document["waiting"]) == (0, 1)
    assert User.objects.get(email="mei@example.com").registered_at is None
    assert registered_events() == []


def test_confirmed_addresses_complete_the_registration(
    write: Write, verification: str, register: Register
) -> None:
    inviter = register().user
    path = write("email,referral_code", f"mei@example.com,{inviter.referral_code}")

    code, document = import_users(path, "--confirmed")

    mei = User.objects.get(email="mei@example.com")
    assert (code, document["registered"]) == (0, 1)
    assert EmailAddress.objects.get(user=mei).verified
    assert registered_events()[-1] == {"user_id": str(mei.pk), "inviter_id": str(inviter.pk)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_two_lines_and_a_second_call_does_the_rest(
    write: Write, number: signal.Signals
) -> None:
    path = write("email", *[f"person{n}@example.com" for n in range(25)])
    calls = iter(range(100))
    register_with = services.register_with

    def register_and_ask(**given: Any) -> services.Registration:
        if next(calls) == 4:
            os.kill(os.getpid(), number)
        return register_with(**given)

    with patch.object(services, "register_with", register_and_ask):
        code, document = import_users(path)

    assert (code, document["interrupted"]) == (1, True)
    assert len(results(document["results"])) == document["lines"] == User.objects.count() == 10
    code, document = import_users(path)
    assert (code, document["already_there"], document["registered"]) == (0, 10, 15)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_batch_that_fails_leaves_no_line_of_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_with = services.register_with
    calls = iter(range(100))

    def fail_late(**given: Any) -> services.Registration:
        if next(calls) == importing.BATCH_SIZE + 3:
            raise RuntimeError("cut")
        return register_with(**given)

    monkeypatch.setattr(services, "register_with", fail_late)
    path = write("email", *[f"person{n}@example.com" for n in range(25)])

    with pytest.raises(RuntimeError, match="cut"):
        import_users(path)

    told = results(str(path.with_name("people.results.csv")))
    assert len(told) == User.objects.count() == importing.BATCH_SIZE


def test_reading_takes_no_more_memory_for_a_longer_file(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        path = tmp_path / f"{lines}.csv"
        with path.open("w") as file:
            file.write("email\n")
            file.writelines(f"{'x' * 40}{n}@example.com\n" for n in range(lines))
        tracemalloc.start()
        with ImportFile(path) as opened, importing._Seen() as seen:
            for line in opened:
                seen.line_of(line.values["email"], line.number)
            reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    assert peak(20_000) < peak(2_000) + 50_000  # bytes; keeping the addresses takes 2,000,000
