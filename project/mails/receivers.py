"""Which events are told by mail. They have a queue of their own: a slow server delays no coupon."""

from collections.abc import Mapping
from typing import Any

from accounts.signals import UserRegistered, user_registered
from coupons.signals import CouponIssued, coupon_issued
from events.envelope import Event
from events.receivers import Guarantee, background_receiver
from events.retry import RetrySchedule
from points.signals import PointsEarned, points_earned
from project.mails.sending import send_once
from project.mails.writing import write_coupon, write_reward, write_welcome
from project.models import MailKind

QUEUE = "mails"
# A server may be away for a night: 24 attempts within some 14 hours.
RETRY = RetrySchedule(max_attempts=24, first_delay_s=2.0)
TIME_LIMIT_S = 15.0  # of one mail: connecting, and each answer, may take EMAIL_TIMEOUT_S
HOW: Mapping[str, Any] = {
    "queue": QUEUE,
    "guarantee": Guarantee.AT_LEAST_ONCE,
    "retry": RETRY,
    "time_limit_s": TIME_LIMIT_S,
}


@background_receiver(user_registered, **HOW)
def send_welcome_mail(event: Event[UserRegistered]) -> None:
    """Welcome a newcomer."""
    send_once(event, kind=MailKind.WELCOME, user_id=event.data.user_id, write=write_welcome)


@background_receiver(coupon_issued, **HOW)
def send_coupon_mail(event: Event[CouponIssued]) -> None:
    """Send a person the code of the coupon they got."""
    send_once(
        event,
        kind=MailKind.COUPON,
        user_id=event.data.user_id,
        write=lambda user: write_coupon(user, event.data.coupon_id),
    )


@background_receiver(points_earned, **HOW)
def send_reward_mail(event: Event[PointsEarned]) -> None:
    """Tell a person what inviting somebody brought them."""
    send_once(
        event,
        kind=MailKind.REWARD,
        user_id=event.data.user_id,
        write=lambda user: write_reward(user, event.data.amount),
    )
