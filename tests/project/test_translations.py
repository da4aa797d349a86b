"""Whatever people read is there in Simplified Chinese, in a catalogue that is the sources'."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.apps import apps
from django.conf import settings
from django.db import models
from django.utils.translation import override
from django.utils.translation.template import templatize

from accounts.models import ReferralStatus, RiskSignalKind
from accounts.referrals import RefusalCode, Undecidable
from accounts.services import ReferralReason
from accounts.views import REFERRAL_SENTENCES
from coupons import redeeming
from coupons.models import DecisionReason, IssueDecision
from coupons.states import CouponState, EffectiveStatus
from events.interventions import Intervention
from events.models import DeliveryState
from points.ledger import EntryKind
from points.refusals import Refused
from points.rewards import RewardReason
from project import checkouts
from project.api.problems import problem
from relay.risk import RiskCheck

CATALOGUE = Path(settings.LOCALE_PATHS[0]) / "zh_Hans" / "LC_MESSAGES" / "django.po"
NOT_SHOWN = {"tests", "benchmarks", "var", "docs", "locale", "static"}
KEYWORDS: dict[str, Any] = {
    **dict.fromkeys(["gettext", "gettext_lazy", "gettext_noop", "_"]),
    **dict.fromkeys(["ngettext", "ngettext_lazy"], (1, 2)),
    **dict.fromkeys(["pgettext", "pgettext_lazy"], ((1, "c"), 2)),
    **dict.fromkeys(["npgettext", "npgettext_lazy"], ((1, "c"), 2, 3)),
}
# A placeholder, as %(name)s, %(name)+d or {name}, or a tag of HTML.
KEPT_AS_IT_IS = re.compile(r"%\(\w+\)[-+ 0-9.]*[a-z]|\{\w*\}|<[^>]+>")
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with CATALOGUE.open("rb") as file:
        return read_po(file)


def entries(catalogue: Catalog) -> list[Message]:
    """Return all but the header."""
    return [message for message in catalogue if message.id]


def key_of(context: Any, message: Any) -> tuple[str | None, str]:
    """Return what an entry is found by. Plurals are found by the singular."""
    if isinstance(context, bytes):  # as `read_mo` leaves it
        context = context.decode()
    return context, message if isinstance(message, str) else message[0]


def translations_of(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def test_every_entry_is_translated(catalogue: Catalog) -> None:
    open_entries = [m.id for m in entries(catalogue) if not all(translations_of(m))]

    assert open_entries == []


def test_no_entry_is_doubtful_or_left_over(catalogue: Catalog) -> None:
    doubtful = [message.id for message in entries(catalogue) if message.fuzzy]

    assert (doubtful, list(catalogue.obsolete)) == ([], [])


def test_placeholders_and_tags_are_kept(catalogue: Catalog) -> None:
    for message in entries(catalogue):
        source = message.id if isinstance(message.id, str) else message.id[-1]
        expected = sorted(KEPT_AS_IT_IS.findall(source))
        for translation in translations_of(message):
            assert sorted(KEPT_AS_IT_IS.findall(translation)) == expected, source


def test_the_compiled_catalogue_says_the_same(catalogue: Catalog) -> None:
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)

    assert said_by(compiled) == said_by(catalogue)


# One word for the account that somebody has; a ledger's account, of points, is a term of its own.
OTHER_WORDS = re.compile("(?<!积分)账户|帐[户号]|你")


def test_an_account_has_one_name_and_readers_are_addressed_politely(catalogue: Catalog) -> None:
    said = [text for message in entries(catalogue) for text in translations_of(message)]
    said += [line for source in sources() for line in source.read_text().splitlines()]

    assert [text for text in said if OTHER_WORDS.search(text)] == []


def said_by(catalogue: Catalog) -> dict[tuple[str | None, str], list[str]]:
    return {key_of(m.context, m.id): translations_of(m) for m in entries(catalogue)}


def test_the_catalogue_has_what_the_sources_say_and_nothing_else(catalogue: Catalog) -> None:
    marked = {key for source in sources() for key in marked_in(source)}

    # Where these differ, `make messages` brings the catalogue in line.
    assert {key_of(m.context, m.id) for m in entries(catalogue)} == marked


def sources() -> Iterator[Path]:
    """Yield the files that may hold texts for people."""
    for place in Path(settings.BASE_DIR).iterdir():
        if place.is_file():
            yield from [place] if place.suffix == ".py" else []
        elif place.name not in NOT_SHOWN and not place.name.startswith("."):
            yield from (f for f in place.rglob("*") if f.suffix in {".py", ".html", ".txt"})


def marked_in(source: Path) -> Iterator[tuple[str | None, str]]:
    """Yield what a file marks for translation."""
    text = source.read_text()
    if source.suffix != ".py":
        # Python with the calls at their places and nonsense between them, indented as the page was.
        text = "\n".join(line.strip() for line in templatize(text).splitlines())
    found = extract("python", BytesIO(text.encode()), KEYWORDS, options={"encoding": "utf-8"})
    for _line, message, _comments, context in found:
        yield key_of(context, message)


CHOICES: list[type[models.TextChoices]] = [
    CouponState,
    DecisionReason,
    DeliveryState,
    EffectiveStatus,
    EntryKind,
    ReferralStatus,
    RewardReason,
    RiskSignalKind,
]
REFUSALS = [
    *(refusal.sentence for refusal in Refused.__subclasses__()),
    *redeeming.SENTENCES.values(),
    *REFERRAL_SENTENCES.values(),
]
STATUSES = [400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 503, 418]


def assert_chinese(text: Any) -> None:
    """Check that a text is shown in Chinese to those who read that, and not to others."""
    with override("en"):
        english = str(text)
    with override("zh-hans"):
        chinese = str(text)

    assert CHINESE.search(chinese), english
    assert not CHINESE.search(english)


@pytest.mark.parametrize("choices", CHOICES)
def test_reasons_and_states_are_told_in_chinese(choices: type[models.TextChoices]) -> None:
    for choice in choices:
        assert_chinese(choice.label)


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals_are_told_in_chinese(sentence: Any) -> None:
    assert_chinese(sentence)


@pytest.mark.parametrize("code", RefusalCode)
def test_refusals_of_referrals_are_told_in_chinese(code: RefusalCode) -> None:
    assert_chinese(Undecidable(code))


def test_whoever_was_not_credited_is_told_in_a_sentence() -> None:
    untold = set(ReferralReason) - set(REFERRAL_SENTENCES)

    assert untold == {ReferralReason.NONE_GIVEN}  # nothing was asked for


@pytest.mark.parametrize("code", [refusal.code for refusal in Refused.__subclasses__()])
def test_a_refused_checkout_is_told_in_chinese(code: str) -> None:
    with override("zh-hans"):
        assert CHINESE.search(checkouts.explain_refusal(code))


def test_a_checkout_whose_coupon_was_given_back_is_told_in_chinese() -> None:
    with override("zh-hans"):
        assert CHINESE.search(checkouts.explain_refusal(checkouts.REDEMPTION_ROLLED_BACK))


@pytest.mark.parametrize("status", STATUSES)
def test_problems_of_the_api_are_told_in_chinese(status: int) -> None:
    with override("zh-hans"):
        assert CHINESE.search(problem(status)["detail"])


OURS = {"accounts", "api", "coupons", "events", "points", "project", "relay"}
MODELS = [model for model in apps.get_models() if model._meta.app_label in OURS]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_the_admin_names_tables_and_fields_in_chinese(model: type[models.Model]) -> None:
    for name in names_of(model):
        assert_chinese(name)


@pytest.mark.parametrize("field", [RiskCheck.decision, Intervention.decision])
def test_what_is_decided_elsewhere_is_no_decision_to_issue_a_coupon(field: Any) -> None:
    with override("zh-hans"):
        assert field.field.verbose_name != IssueDecision._meta.verbose_name


def names_of(model: type[models.Model]) -> Iterator[Any]:
    """Yield what the admin shows of a model: its names, its fields', their help and choices."""
    yield model._meta.verbose_name
    yield model._meta.verbose_name_plural
    for field in model._meta.get_fields():
        if not isinstance(field, models.Field) or isinstance(field, models.AutoField):
            continue
        yield field.verbose_name
        yield from [field.help_text] if field.help_text else []
        yield from (label for value, label in field.flatchoices if value)
