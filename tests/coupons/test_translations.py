"""What people read of a campaign is in their language, where staff wrote it in that."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils.translation import override
from rest_framework.test import APIClient

from coupons.campaigns import Campaign
from coupons.lifecycle import clone_campaign
from coupons.queries import coupon_card, live_offer
from coupons.translations import TEXTS
from project.mails.writing import write_coupon
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

CHINESE = {"name": "新人礼", "description": "首单九折。", "terms": "每人一张。"}


@pytest.fixture
def campaign() -> Campaign:
    """Return a campaign with all its texts in both languages."""
    return make_campaign(
        description="Ten percent off.",
        terms="One each.",
        translations={"zh-hans": CHINESE},
    )


@pytest.mark.parametrize(
    ("language", "name", "terms"),
    [("en", "Welcome", "One each."), ("zh-hans", "新人礼", "每人一张。")],
)
def test_cards_offers_and_mails_are_in_the_reader_s_language(
    campaign: Campaign, language: str, name: str, terms: str
) -> None:
    person = make_person()
    coupon = make_coupon(campaign, person)
    person.language = "zh-hans" if language == "zh-hans" else "en"

    with override(language):
        card, offer = coupon_card(coupon.pk), live_offer()
    letter = write_coupon(person, coupon.pk)

    assert card is not None
    assert offer is not None
    assert letter is not None
    assert (card.campaign, card.terms) == (offer.name, offer.terms) == (name, terms)
    assert name in letter.text
    assert terms in letter.html


def test_what_is_not_translated_is_read_as_it_is(client: Client) -> None:
    make_campaign(name="Plain", description="As it is.")

    page = client.get("/", headers={"Accept-Language": "zh-hans"}).content.decode()

    assert "As it is." in page


def test_the_api_goes_by_accept_language(api_client: APIClient, campaign: Campaign) -> None:
    person = make_person()
    make_coupon(campaign, person)
    api_client.force_authenticate(person)

    answers = {
        language: api_client.get("/api/v1/me/coupons/", headers={"Accept-Language": language})
        for language in ["en", "zh-hans", "fr"]
    }

    names = {code: answer.json()["results"][0]["campaign"] for code, answer in answers.items()}
    assert names == {"en": "Welcome", "zh-hans": "新人礼", "fr": "Welcome"}
    assert "Accept-Language" in answers["en"]["Vary"]
    assert answers["en"]["ETag"] != answers["zh-hans"]["ETag"]


def test_a_clone_is_translated_too(campaign: Campaign) -> None:
    assert clone_campaign(campaign_id=campaign.pk).translations == {"zh-hans": CHINESE}


@pytest.mark.parametrize(
    "translations",
    [
        ["x"],
        {"fr": CHINESE},
        {"en": CHINESE},
        {"zh-hans": "x"},
        {"zh-hans": {"x": "y"}},
        {"zh-hans": {"name": 1}},
    ],
)
def test_what_is_no_translation_is_refused(campaign: Campaign, translations: Any) -> None:
    campaign.translations = translations

    with pytest.raises(ValidationError) as refusal:
        campaign.full_clean()
    assert "translations" in refusal.value.message_dict


def form_of(client: Client, campaign: Campaign, **typed: str) -> dict[str, Any]:
    """Return the admin's form of a campaign as it is sent, with what staff typed into it."""
    page = client.get(f"/admin/coupons/campaign/{campaign.pk}/change/")
    form = page.context["adminform"].form
    values = {name: field.value() for name, field in ((n, form[n]) for n in form.fields)}
    sent = {name: value for name, value in values.items() if value is not None}
    for name in ("starts_at",):
        moment = sent.pop(name)
        sent |= {f"{name}_0": f"{moment:%Y-%m-%d}", f"{name}_1": f"{moment:%H:%M:%S}"}
    for inline in page.context["inline_admin_formsets"]:
        management = inline.formset.management_form
        sent |= {management.add_prefix(n): management[n].value() for n in management.fields}
    return sent | typed


def test_staff_translate_a_campaign_in_the_admin(admin_client: Client, campaign: Campaign) -> None:
    address = f"/admin/coupons/campaign/{campaign.pk}/change/"
    assert 'value="新人礼"' in admin_client.get(address).content.decode()

    answer = admin_client.post(address, form_of(admin_client, campaign, name_zh_hans="见面礼"))

    campaign.refresh_from_db()
    assert answer.status_code == 302
    assert campaign.translations == {"zh-hans": CHINESE | {"name": "见面礼"}}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"terms_zh_hans": ""}, "Translate this too, or nothing."),
        ({"terms": ""}, "There is nothing that this translates."),
        ({"name_zh_hans": "长" * 121}, "at most 120"),
    ],
)
def test_half_a_translation_is_refused_beside_its_text(
    admin_client: Client, campaign: Campaign, typed: dict[str, str], sentence: str
) -> None:
    address = f"/admin/coupons/campaign/{campaign.pk}/change/"

    answer = admin_client.post(address, form_of(admin_client, campaign, **typed))

    assert sentence in answer.content.decode()
    campaign.refresh_from_db()
    assert campaign.translations == {"zh-hans": CHINESE}


def test_each_mistake_is_told_once(admin_client: Client, campaign: Campaign) -> None:
    address = f"/admin/coupons/campaign/{campaign.pk}/change/"

    typed = {"name": "", "description_zh_hans": "", "name_zh_hans": "长" * 121}
    answer = admin_client.post(address, form_of(admin_client, campaign, **typed))

    told = answer.context["adminform"].form.errors
    assert {field: len(errors) for field, errors in told.items()} == dict.fromkeys(typed, 1)


def test_the_history_tells_which_translation_was_changed(
    admin_client: Client, campaign: Campaign
) -> None:
    address = f"/admin/coupons/campaign/{campaign.pk}/"

    sent = form_of(admin_client, campaign, name_zh_hans="见面礼")
    admin_client.post(f"{address}change/", sent)

    page = admin_client.get(f"{address}history/").content.decode()
    assert "Changed Name (Simplified Chinese)." in page


def test_translations_have_fields_like_those_of_the_texts(
    admin_client: Client, campaign: Campaign
) -> None:
    page = admin_client.get(f"/admin/coupons/campaign/{campaign.pk}/change/")

    fields = page.context["adminform"].form.fields
    for text in TEXTS:
        own, translated = (fields[name].widget for name in (text, f"{text}_zh_hans"))
        assert type(translated) is type(own)
        assert translated.attrs["class"] == own.attrs["class"]


def test_a_translation_is_taken_away_as_a_whole(admin_client: Client, campaign: Campaign) -> None:
    nothing = {"name_zh_hans": "", "description_zh_hans": "", "terms_zh_hans": ""}

    admin_client.post(
        f"/admin/coupons/campaign/{campaign.pk}/change/",
        form_of(admin_client, campaign, **nothing),
    )

    campaign.refresh_from_db()
    assert campaign.translations == {}
