"""Alarms are mailed to ALARM_MAILS. Endpoints that ask for their events get them by webhook."""

from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from events.envelope import Event
from events.operations.bounded import MOST
from events.receivers import background_receiver
from project.alarms.models import AlarmKind
from project.mails.receivers import HOW
from project.signals import AlarmBegan, AlarmEnded, alarm_began, alarm_ended


@background_receiver(alarm_began, alarm_ended, **HOW)
def mail_alarm(event: Event[AlarmBegan | AlarmEnded]) -> None:
    """Tell whoever is on call that an alarm has begun, or is over."""
    if not settings.ALARM_MAILS:
        return
    with override(settings.LANGUAGE_CODE):
        data = event.data
        subject, told = _begun(data) if isinstance(data, AlarmBegan) else _over(data)
        page = settings.PUBLIC_URL + reverse("monitor-receiver", args=[data.receiver])
        host = urlsplit(settings.PUBLIC_URL).hostname
        EmailMessage(
            subject,
            f"{told}\n\n{page}\n",
            to=settings.ALARM_MAILS,
            headers={
                "Message-ID": f"<{event.id}.alarm@{host}>",  # the same however often it goes
                "Auto-Submitted": "auto-generated",
            },
        ).send()


def _begun(data: AlarmBegan) -> tuple[str, str]:
    named = {"receiver": data.receiver}
    if data.kind == AlarmKind.DEAD:
        dead = {"count": MOST, **named} if data.dead > MOST else {"count": data.dead, **named}
        told = ngettext(
            "%(count)d delivery to %(receiver)s is dead: it is out of attempts, and what comes "
            "after it for the same person waits. Mend the cause, then replay it.",
            "%(count)d deliveries to %(receiver)s are dead: they are out of attempts, and what "
            "comes after them for the same people waits. Mend the cause, then replay them.",
            data.dead,
        )
        return _("Alarm: dead deliveries to %(receiver)s") % named, told % dead
    told = _(
        "The oldest delivery to %(receiver)s has been due for %(seconds)d s. Either no worker "
        "serves its queue, or more comes in than is worked off."
    )
    return (
        _("Alarm: %(receiver)s falls behind") % named,
        told % {"seconds": data.oldest_due_age_s, **named},
    )


def _over(data: AlarmEnded) -> tuple[str, str]:
    named = {"receiver": data.receiver, "minutes": max(1, round(data.lasted_s / 60))}
    if data.kind == AlarmKind.DEAD:
        return (
            _("Over: dead deliveries to %(receiver)s") % named,
            _("No delivery to %(receiver)s is dead any more, after %(minutes)d min.") % named,
        )
    return (
        _("Over: %(receiver)s has caught up") % named,
        _("Deliveries to %(receiver)s are on time again, after %(minutes)d min.") % named,
    )
