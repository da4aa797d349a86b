"""docs/api.md says of codes and limits what the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from allauth.account import app_settings
from pytest_django import Settings

from api.idempotency import KEPT
from api.models import KEY_LENGTH
from coupons.limits import LOOKUPS
from coupons.redeeming import SENTENCES
from project.api.pagination import CursorPagination
from project.api.problems import _BY_STATUS
from tests.processes import ROOT

TEXT = (ROOT / "docs" / "api.md").read_text()
APPS = ("accounts", "api", "coupons", "points", "relay", "project")
# What staff do on pages and by commands: no call of the API gets there.
OF_PAGES = {
    "accounts/forms.py",
    "accounts/importing.py",
    "coupons/bulk_issuing.py",
    "coupons/campaigns.py",
    "coupons/lifecycle.py",
    "coupons/planning.py",
    "coupons/translations.py",
    "points/rewards.py",
}
# Refusals of services that the API makes before it asks them, or that only staff's pages meet.
NEVER_ANSWERED = {"invalid_amount", "invalid_order_ref", "key_conflict", "missing_reason"}
NEVER_ANSWERED |= {"not_earned", "unknown_user"}
OF_LIBRARIES = {"authentication_failed", "not_acceptable"}
PROBLEMS = {"ParseError", "NotFound", "UnsupportedMediaType", "PermissionDenied", "Refused"}
PROBLEMS |= {"AuthenticationFailed", "APIException", "__init__", "_unknown"}
OF_PLACES = {"ValidationError", "ErrorDetail", "fail"}


def test_the_table_has_every_code_there_is_and_no_other() -> None:
    documented = re.findall(r"^\| `(\w+)` \| \d{3} \|", TEXT, re.M)
    generic = {code for code, _ in _BY_STATUS.values()} | OF_LIBRARIES

    codes = set(codes_of_calls(PROBLEMS)) | set(codes_of_classes())

    assert documented == sorted(documented)
    expected = (codes | generic | SENTENCES.keys() | {"invalid", "min_spend"}) - NEVER_ANSWERED
    assert set(documented) == expected


def test_the_status_of_a_generic_code_is_the_one_documented() -> None:
    for status, (code, _) in _BY_STATUS.items():
        assert f"| `{code}` | {status} |" in TEXT


def test_every_code_of_a_place_is_documented() -> None:
    places = TEXT.partition("| code of a place |")[2]

    assert set(codes_of_calls(OF_PLACES)) <= set(re.findall(r"`(\w+)`", places))


def test_limits_are_those_in_force(settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}  # those of the library, as outside of tests

    limits = app_settings.RATE_LIMITS

    assert (limits["signup"], limits["login"]) == ("20/m/ip", "30/m/ip")
    assert limits["login_failed"] == "10/m/ip,5/300s/key"
    assert LOOKUPS == {"code_lookup": "30/m/user,60/m/ip"}
    assert (settings.API_MAX_BODY_BYTES, KEY_LENGTH, KEPT.days) == (64 * 1024, 255, 1)
    assert (CursorPagination.page_size, CursorPagination.max_page_size) == (50, 200)


def trees() -> Iterator[ast.AST]:
    """Return everything in the sources that calls of the API can reach."""
    for path in (path for app in APPS for path in Path(ROOT, app).rglob("*.py")):
        if str(path.relative_to(ROOT)) not in OF_PAGES and "migrations" not in path.parts:
            yield from ast.walk(ast.parse(path.read_text()))


def codes_of_calls(names: set[str]) -> Iterator[str]:
    """Return the codes that are given when exceptions of some names are made."""
    for node in trees():
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in names:
            given = [*node.args, *(each.value for each in node.keywords if each.arg == "code")]
            yield from (text for each in given if (text := code_in(each)))


def codes_of_classes() -> Iterator[str]:
    """Return the codes that exceptions have by their class."""
    for node in trees():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = code_in(node.value)
            if text and node.targets[0].id in {"code", "default_code"}:
                yield text


def code_in(node: ast.AST) -> str:
    """Return a text that looks as codes do, or nothing."""
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return text if re.fullmatch(r"[a-z]+(_[a-z]+)*", text) else ""
