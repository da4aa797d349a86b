"""Mails about events: in the person's language, once, under one id, and to nobody who is not to."""

from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any
from unittest import mock

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.management import call_command
from pytest_django import Settings

from accounts import services
from accounts.models import User
from accounts.queries import export_account
from coupons.models import Campaign, Coupon
from events.models import Delivery, DeliveryState, Event
from events.operations.explain import story_of_user
from events.receivers import all_receivers
from project.mails.receivers import QUEUE
from project.models import Mail, MailOutcome, WithheldReason
from tests.conftest import Drain
from tests.faults.world import PASSWORD, open_campaign_and_rule, register
from tests.probe.observe import make_due
from tests.registrations import clear, close, flag

pytestmark = pytest.mark.django_db(transaction=True)

MEI = "mei@example.com"


@pytest.fixture
def inviter(drain: Drain) -> User:
    """Return somebody who has had their mails, with a campaign and a reward rule open."""
    person: User = open_campaign_and_rule(drain)
    mail.outbox.clear()
    return person


def sent() -> dict[str, EmailMultiAlternatives]:
    """Return the mails that were sent, by subject."""
    return {
        str(each.subject): each for each in mail.outbox if isinstance(each, EmailMultiAlternatives)
    }


def html_of(letter: EmailMultiAlternatives) -> str:
    """Return the HTML part."""
    (alternative,) = letter.alternatives
    assert alternative[1] == "text/html"
    return str(alternative[0])


def outcomes(user: User) -> dict[str, tuple[str, str]]:
    """Return what became of a person's mails, and why."""
    rows = Mail.objects.filter(user=user)
    return {str(row.kind): (row.outcome, row.reason) for row in rows}


def test_a_newcomer_is_welcomed_and_gets_the_code_of_the_coupon(
    inviter: User, drain: Drain
) -> None:
    person = register(MEI)

    drain()

    letters = sent()
    assert set(letters) == {"Welcome to Usher", "Your coupon: 5.00 EUR off"}
    assert [letter.to for letter in letters.values()] == [[MEI]] * 2
    coupon = Coupon.objects.get(user=person)
    for letter in letters.values():
        text, html = letter.body, html_of(letter)
        assert "http://127.0.0.1:8000/wallet/" in text
        assert "http://127.0.0.1:8000/wallet/" in html
    code = letters["Your coupon: 5.00 EUR off"]
    assert coupon.code in code.body
    assert coupon.code in html_of(code)
    assert person.referral_code in letters["Welcome to Usher"].body


def test_whoever_invited_is_told_what_it_brought(inviter: User, drain: Drain) -> None:
    register(MEI, inviter)

    drain()

    letter = sent()["100 points for your invitation"]
    assert letter.to == [inviter.email]
    assert "You have 100 points now." in letter.body
    assert MEI not in letter.body + html_of(letter)


def test_mails_are_in_the_language_the_person_signed_up_in(inviter: User, drain: Drain) -> None:
    services.register(email=MEI, password=PASSWORD, language="zh-hans")

    drain()

    assert {letter.extra_headers["Content-Language"] for letter in sent().values()} == {"zh-hans"}
    assert all('<html lang="zh-hans">' in html_of(letter) for letter in sent().values())


def test_names_and_terms_are_text_whatever_is_in_them(inviter: User, drain: Drain) -> None:
    Campaign.objects.update(name='A "<b>&\nBcc: x@example.com', terms="<script>1</script>")
    register(MEI)

    drain()

    letter = sent()["Your coupon: 5.00 EUR off"]
    assert "<script>" not in html_of(letter)
    assert "<script>1</script>" in letter.body
    assert letter.recipients() == [MEI]


def test_delivered_again_nothing_is_sent_again(inviter: User, drain: Drain) -> None:
    register(MEI)
    drain()
    mail.outbox.clear()

    call_command("replay", "--state", "done")
    drain()

    assert mail.outbox == []


def test_what_was_sent_but_not_recorded_goes_out_again_under_the_same_id(
    inviter: User, drain: Drain
) -> None:
    register(MEI)
    with mock.patch.object(Mail.objects, "bulk_create", side_effect=RuntimeError("killed here")):
        drain()
    first = {each.subject: each.extra_headers["Message-ID"] for each in sent().values()}
    mail.outbox.clear()

    make_due()
    drain()

    second = {each.subject: each.extra_headers["Message-ID"] for each in sent().values()}
    assert first == second
    assert len(set(first.values())) == len(first) == 2
    event = Event.objects.get(type="accounts.user_registered", key=str(_of(MEI).pk))
    assert first["Welcome to Usher"] == f"<{event.event_id}.welcome@127.0.0.1>"


def _of(email: str) -> User:
    return User.objects.get(email=email)


def test_a_mail_server_that_is_away_delays_mails_alone(inviter: User, drain: Drain) -> None:
    with mock.patch.object(EmailMultiAlternatives, "send", side_effect=SMTPServerDisconnected("x")):
        person = register(MEI)
        drain()

    assert Coupon.objects.filter(user=person).exists()
    assert Mail.objects.filter(user=person).count() == 0
    make_due()
    drain()
    assert set(outcomes(person).values()) == {(MailOutcome.SENT, "")}


def refuse(code: int, words: str) -> Any:
    """Let the mail server refuse the recipient."""
    refusal = SMTPRecipientsRefused({MEI: (code, words.encode())})
    return mock.patch.object(EmailMultiAlternatives, "send", side_effect=refusal)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (550, "no such user"),
        (550, "5.1.1 <mei@example.com>: Recipient address rejected: User unknown"),
        (551, "User not local"),
        (553, "5.1.3 bad address syntax"),
        (554, "5.1.2 no such host"),
        (556, "5.1.10 Domain has null MX"),
    ],
)
def test_an_address_that_there_is_not_is_recorded_and_not_tried_again(
    inviter: User, drain: Drain, code: int, words: str
) -> None:
    with refuse(code, words):
        person = register(MEI)
        drain()

    assert set(outcomes(person).values()) == {(MailOutcome.REFUSED, str(code))}
    assert not Delivery.objects.filter(queue=QUEUE).exclude(state=DeliveryState.DONE).exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (554, "5.7.1 <mei@example.com>: Relay access denied"),
        (550, "5.7.1 blocked by policy"),
        (550, "5.7.26 unauthenticated mail is not accepted"),
        (550, "5.4.5 daily sending quota exceeded"),
        (553, "5.7.1 sender address rejected: not owned by user"),
        (550, "5.1.8 sender address rejected: Domain not found"),
        (554, "no thanks"),
        (530, "Authentication required"),
    ],
)
def test_a_refusal_that_is_about_us_is_tried_again_and_loses_no_mail(
    inviter: User, drain: Drain, code: int, words: str
) -> None:
    with refuse(code, words):
        person = register(MEI)
        drain()

    assert outcomes(person) == {}
    assert MEI not in str(list(Delivery.objects.filter(queue=QUEUE).values_list("last_error")))
    make_due()
    drain()
    assert set(outcomes(person).values()) == {(MailOutcome.SENT, "")}


def test_a_refused_mail_is_sent_by_a_replay_once_the_server_takes_it(
    inviter: User, drain: Drain
) -> None:
    with refuse(550, "too many recipients today"):
        person = register(MEI)
        drain()
    assert set(outcomes(person).values()) == {(MailOutcome.REFUSED, "550")}

    for _ in range(2):
        call_command("replay", "--state", "done")
        drain()

    assert set(outcomes(person).values()) == {(MailOutcome.SENT, "")}
    assert [letter.to for letter in mail.outbox] == [[MEI]] * 2  # the welcome, and the coupon


def test_that_a_mail_was_sent_stands_whatever_a_second_worker_is_told(
    inviter: User, drain: Drain
) -> None:
    def be_second(*args: Any) -> None:
        event_id, kind = args[0].extra_headers["Message-ID"].strip("<").split("@")[0].split(".")
        first = {"event_id": event_id, "kind": kind, "user": _of(MEI), "message_id": "<x@y>"}
        Mail.objects.create(outcome=MailOutcome.SENT, answer="queued as 1", **first)
        raise SMTPRecipientsRefused({MEI: (550, b"no such user")})

    with mock.patch.object(EmailMultiAlternatives, "send", autospec=True, side_effect=be_second):
        person = register(MEI)
        drain()

    assert set(outcomes(person).values()) == {(MailOutcome.SENT, "")}
    assert set(Mail.objects.filter(user=person).values_list("answer", flat=True)) == {"queued as 1"}


def test_a_full_mailbox_is_tried_again(inviter: User, drain: Drain) -> None:
    refusal = SMTPRecipientsRefused({MEI: (452, b"mailbox full")})
    with mock.patch.object(EmailMultiAlternatives, "send", side_effect=refusal):
        person = register(MEI)
        drain()

    assert outcomes(person) == {}
    assert MEI not in str(list(Delivery.objects.filter(queue=QUEUE).values_list("last_error")))


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (close, WithheldReason.ACCOUNT_CLOSED),
        (flag, WithheldReason.ACCOUNT_FLAGGED),
    ],
)
def test_who_is_out_of_good_standing_gets_no_mail(
    inviter: User, drain: Drain, before: Any, reason: str
) -> None:
    person = register(MEI)
    before(person)

    drain()

    assert mail.outbox == []
    assert outcomes(person)["welcome"] == (MailOutcome.WITHHELD, reason)


def test_what_was_withheld_in_a_review_is_sent_by_a_replay_once_the_account_is_cleared(
    inviter: User, drain: Drain
) -> None:
    person = register(MEI)
    flag(person)
    drain()
    clear(person)

    drain()
    call_command("replay", "--state", "done", "--receiver", "project.send_welcome_mail")
    drain()

    assert outcomes(person)["welcome"] == (MailOutcome.SENT, "")
    assert [letter.to for letter in mail.outbox if "Welcome" in letter.subject] == [[MEI]]


@pytest.fixture
def mandatory(settings: Settings) -> None:
    """Let addresses be confirmed before a sign-up is complete."""
    settings.SIGNUP_EMAIL_VERIFICATION = settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


def test_where_addresses_must_be_confirmed_nobody_else_gets_mail(
    inviter: User, drain: Drain, mandatory: None
) -> None:
    EmailAddress.objects.update(verified=False)
    person = register(MEI)
    EmailAddress.objects.filter(user=person).update(verified=True)
    services.complete_registration(user_id=person.pk)
    EmailAddress.objects.filter(user=person).update(verified=False)

    drain()

    assert mail.outbox == []
    assert outcomes(person)["welcome"] == (
        MailOutcome.WITHHELD,
        WithheldReason.ADDRESS_UNVERIFIED,
    )


def test_addresses_that_nobody_can_have_get_no_mail(inviter: User, drain: Drain) -> None:
    person = register("mei@usher.test")

    drain()

    assert mail.outbox == []
    assert set(outcomes(person).values()) == {(MailOutcome.WITHHELD, WithheldReason.UNDELIVERABLE)}


def test_a_coupon_that_is_gone_by_then_is_not_told_of(inviter: User, drain: Drain) -> None:
    person = register(MEI)
    with mock.patch("project.mails.sending._send", side_effect=OSError("away")):
        drain()
    Coupon.objects.filter(user=person).update(status="revoked")

    make_due()
    drain()

    assert outcomes(person)["coupon"] == (MailOutcome.WITHHELD, WithheldReason.OUTDATED)


def test_explain_and_the_export_tell_of_mails_without_an_address(
    inviter: User, drain: Drain
) -> None:
    person = register(MEI)
    drain()

    story = [line for line in str(story_of_user(MEI)).split("Fact(") if "mail was sent" in line]
    exported = export_account(person.pk)["mails"]

    assert len(story) == 2
    assert [row["outcome"] for row in exported] == ["sent", "sent"]
    assert MEI not in str(Mail.objects.values())


def test_mails_have_a_queue_of_their_own() -> None:
    mailing = {each.name for each in all_receivers() if each.queue == QUEUE}

    assert mailing == {
        "project.mail_alarm",
        "project.send_coupon_mail",
        "project.send_reward_mail",
        "project.send_welcome_mail",
    }
