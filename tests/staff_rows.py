"""Rows for every list of the admin, as many as a test wants."""

import re
from itertools import count
from typing import Any
from uuid import uuid4

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task
from django_q.signing import SignedPackage
from knox.models import AuthToken

from accounts.models import Consent, RiskSignal, RiskSignalKind, StatusChange, User
from coupons.models import BulkIssue, BulkIssueRow, Redemption
from events.models import Attempt, Delivery, ReceiverState
from project.alarms.models import Alarm
from project.models import Mail
from relay.endpoints import Endpoint
from relay.parked import ParkedMessage
from relay.risk import ReceivedMessage, RiskCheck
from tests.coupons.factories import make_campaign, make_coupon, publish_registration
from tests.points.factories import make_account, make_decision, make_entry, make_rule
from tests.registrations import make_people, make_person, refer

# What the admin's policy refuses: styles and scripts that are written into a page.
WRITTEN = re.compile(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=", re.IGNORECASE)
_numbers = count(1)


def make_rows(number: int) -> None:
    """Make so many rows of everything that staff have a list of."""
    inviter = make_person()
    for person in make_people(number):
        n = next(_numbers)
        _make_account(person, inviter, n)
        _make_offers(person, inviter, n)
        _make_operations(person, n)
        _make_queue(n)


def _make_account(person: User, inviter: User, n: int) -> None:
    refer(person, inviter)
    RiskSignal.objects.create(user=person, kind=RiskSignalKind.values[0], weight=5)
    StatusChange.objects.create(
        user=person, subject="account", before="active", after="flagged", reason="by_staff",
        actor=inviter, event_id=uuid4(),
    )  # fmt: skip
    Consent.objects.create(user=person, version="1", channel="page", language="en")
    EmailAddress.objects.create(user=person, email=person.email, primary=True)
    Authenticator.objects.create(user=person, type="totp", data={})
    UserSession.objects.create(
        user=person, ip="203.0.113.9", user_agent="Firefox/1", session_key=f"key{n}"
    )
    AuthToken.objects.create(user=person)
    LogEntry.objects.create(
        user=person,
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(person.pk),
        object_repr="somebody",
        action_flag=CHANGE,
    )
    Group.objects.create(name=f"role {n}")


def _make_offers(person: User, inviter: User, n: int) -> None:
    campaign = make_campaign(name=f"Campaign {n}")
    coupon = make_coupon(campaign, person)
    Redemption.objects.create(
        coupon=coupon, order_ref=f"A-{n}", order_amount=100, discount=1, redeemed_by=inviter
    )
    listed = BulkIssue.objects.create(
        campaign=campaign, requested_by=inviter, total=1, finished_at=timezone.now()
    )
    BulkIssueRow.objects.create(bulk_issue=listed, line=1, user=person, outcome="issued")
    make_rule(version=n)
    make_decision(inviter, person)
    make_entry(make_account(person))


def _make_operations(person: User, n: int) -> None:
    publish_registration(person)
    now, delivery = timezone.now(), Delivery.objects.filter(key=str(person.pk)).earliest("pk")
    Attempt.objects.create(
        delivery=delivery, number=1, started_at=now, ended_at=now, fingerprint="0", error_class="E"
    )
    ReceiverState.objects.create(name=f"some.receiver{n}")
    for app in ("accounts", "coupons", "points", "relay"):
        inbox: Any = apps.get_model(app, "ProcessedEvent")
        inbox.objects.create(event_id=uuid4(), receiver="some.receiver")
    Mail.objects.create(
        event_id=uuid4(), kind="welcome", user=person, outcome="sent", message_id=f"<{n}@x>"
    )
    Alarm.objects.create(receiver=f"some.receiver{n}", kind="dead", worst=n)
    Endpoint.objects.create(
        name=f"CRM {n}", url="https://crm.example/", owner_email="o@example.com", sealed_secret="x"
    )
    RiskCheck.objects.create(user=person, event_id=uuid4(), requested_at=now, deadline_at=now)
    ReceivedMessage.objects.create(message_id=f"m{n}")
    ParkedMessage.objects.create(
        source="amqp://mq", place=f"q {n}", body=b"{}", error="no event", digest=f"{n}"
    )


def _make_queue(n: int) -> None:
    now = timezone.now()
    for is_success in (True, False):
        Task.objects.create(
            id=f"{is_success}{n}", name=f"t{n}", func="f", started=now, stopped=now,
            success=is_success,
        )  # fmt: skip
    Schedule.objects.create(name=f"s{n}", func="f", next_run=now, task=f"True{n}")
    OrmQ.objects.create(key="q", payload=SignedPackage.dumps({"id": f"{n}", "name": "n"}))
