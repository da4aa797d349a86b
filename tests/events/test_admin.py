"""Staff replay, skip, pause and resume in the admin: with a right of their own, and on record."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import User
from events.models import Delivery, DeliveryState, ReceiverState
from tests.conftest import Drain, Publish

pytestmark = pytest.mark.django_db(transaction=True)

DELIVERIES = "admin:events_delivery_changelist"
RECEIVERS = "admin:events_receiverstate_changelist"


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


def grant(client: Client, *rights: str) -> None:
    """Log somebody in who may look at deliveries and receivers and has these rights besides."""
    user = User.objects.create_user("clerk@example.com", "pw")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    names = ["view_delivery", "view_receiverstate", *rights]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)


def post(client: Client, page: str, action: str, *ids: object, **data: object) -> str:
    """Choose rows and an action; return the page that follows."""
    chosen = {"action": action, "_selected_action": [str(pk) for pk in ids], **data}
    answer = client.post(reverse(page), chosen, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def pending(publish: Publish) -> Delivery:
    """Return a delivery that has not run."""
    publish(1)
    return Delivery.objects.get(receiver="probe.record")


def test_skipping_asks_for_a_reason_first(staff: Client, pending: Delivery) -> None:
    page = post(staff, DELIVERIES, "skip", pending.pk)

    assert 'name="reason"' in page
    assert str(pending) in page
    pending.refresh_from_db()
    assert pending.state == DeliveryState.PENDING


def test_a_reason_given_skips_and_is_on_record(staff: Client, pending: Delivery) -> None:
    page = post(staff, DELIVERIES, "skip", pending.pk, reason="cancelled")

    pending.refresh_from_db()
    entry = LogEntry.objects.get(object_id=str(pending.pk))
    assert "1 delivery skipped." in page
    assert (pending.state, pending.skip_reason) == (DeliveryState.SKIPPED, "cancelled")
    assert pending.skipped_by == "staff@example.com"
    assert entry.get_change_message() == "Skipped: cancelled"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
def test_a_reason_that_will_not_do_is_asked_for_again(
    reason: str, staff: Client, pending: Delivery
) -> None:
    page = post(staff, DELIVERIES, "skip", pending.pk, reason=reason)

    assert 'class="errorlist"' in page
    assert f'value="{pending.pk}"' in page  # the choice is kept
    pending.refresh_from_db()
    assert pending.state == DeliveryState.PENDING


def test_the_form_leads_to_the_skip_without_javascript(staff: Client, pending: Delivery) -> None:
    page = post(staff, DELIVERIES, "skip", pending.pk)
    sent = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    sent.pop("csrfmiddlewaretoken", None)

    staff.post(reverse(DELIVERIES), {**sent, "reason": "cancelled"})

    pending.refresh_from_db()
    assert pending.state == DeliveryState.SKIPPED


def test_finished_deliveries_are_left_and_said_so(
    staff: Client, publish: Publish, drain: Drain
) -> None:
    publish(1)
    drain()
    done = Delivery.objects.get(receiver="probe.record")

    page = post(staff, DELIVERIES, "skip", done.pk, reason="cancelled")

    assert "1 left as they are: running, or finished already." in page
    assert not LogEntry.objects.exists()


def test_all_that_match_can_be_skipped(staff: Client, pending: Delivery) -> None:
    post(staff, DELIVERIES, "skip", pending.pk, reason="all of it", select_across="1")

    assert not Delivery.objects.exclude(state=DeliveryState.SKIPPED).exists()
    assert LogEntry.objects.count() == Delivery.objects.count()


def test_replaying_is_on_record(staff: Client, pending: Delivery) -> None:
    post(staff, DELIVERIES, "replay", pending.pk)

    assert LogEntry.objects.get().get_change_message() == "Replayed"


def test_receivers_are_paused_with_a_reason_and_resumed(staff: Client) -> None:
    ReceiverState.objects.create(name="probe.record")

    asked = post(staff, RECEIVERS, "pause", "probe.record")
    paused = post(staff, RECEIVERS, "pause", "probe.record", reason="a fault")
    state = ReceiverState.objects.get()
    resumed = post(staff, RECEIVERS, "resume", "probe.record")

    assert 'name="reason"' in asked
    assert "1 receiver paused." in paused
    assert (state.paused_by, state.pause_reason) == ("staff@example.com", "a fault")
    assert "1 receiver resumed." in resumed
    assert ReceiverState.objects.get().paused_at is None
    messages = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert messages == ["Paused: a fault", "Resumed"]


def test_what_was_paused_already_is_not_on_record_again(staff: Client) -> None:
    ReceiverState.objects.create(name="probe.record")

    for _ in range(2):
        post(staff, RECEIVERS, "pause", "probe.record", reason="a fault")

    assert LogEntry.objects.count() == 1


def test_without_the_right_nothing_can_be_skipped_or_paused(
    client: Client, pending: Delivery
) -> None:
    ReceiverState.objects.create(name="probe.record")
    grant(client)

    post(client, DELIVERIES, "skip", pending.pk, reason="cancelled")
    post(client, RECEIVERS, "pause", "probe.record", reason="a fault")

    pending.refresh_from_db()
    assert pending.state == DeliveryState.PENDING
    assert ReceiverState.objects.get().paused_at is None


def test_the_rights_suffice(client: Client, pending: Delivery) -> None:
    ReceiverState.objects.create(name="probe.record")
    grant(client, "skip_delivery", "pause_receiver")

    post(client, DELIVERIES, "skip", pending.pk, reason="cancelled")
    post(client, RECEIVERS, "pause", "probe.record", reason="a fault")

    pending.refresh_from_db()
    assert pending.state == DeliveryState.SKIPPED
    assert ReceiverState.objects.get().paused_at is not None
