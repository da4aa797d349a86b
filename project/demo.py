"""What a first start shows: offers, a few people who invited each other, and one dead delivery."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts import services as accounts
from accounts.consents import Channel
from accounts.models import User
from accounts.names import set_name
from accounts.terms import Agreed
from coupons.campaigns import Audience, Campaign, CampaignStatus, Trigger
from coupons.queries import WELCOME_RECEIVER
from events.delivery import settle
from events.delivery.drain import drain
from events.delivery.failure import describe
from events.models import Delivery, DeliveryState
from events.receivers import all_queues
from events.retry import PermanentFailure
from points.rewards import RewardRule, RuleKind

STAFF_EMAIL = "admin@usher.test"
_LEASE = timedelta(seconds=30)

CHINESE = "zh-hans"

WELCOME = "Welcome"
INVITED = "Brought by a friend"
SOLD_OUT = "The first two"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of the demo, and the address of whoever invited them."""

    email: str
    name: str
    inviter: str = ""


# The last one's coupon is the dead delivery.
PEOPLE = (
    Person(email="mei@usher.test", name="Mei"),
    Person(email="jonas@usher.test", name="Jonas", inviter="mei@usher.test"),
    Person(email="amara@usher.test", name="Amara", inviter="mei@usher.test"),
    Person(email="li@usher.test", name="Li", inviter="jonas@usher.test"),
)


@dataclass(slots=True, kw_only=True)
class Seeded:
    """What a call of `seed` made, and what was there already, by name."""

    created: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    staff_password: str | None = None  # only where it was generated just now


def create_welcome_campaign() -> Campaign:
    """Return the campaign that gives every newcomer 10 % off, made where it is missing."""
    return _campaign(
        WELCOME,
        description="Ten percent off your first order.",
        terms="One coupon per account. Not to be combined with other coupons.",
        translations={
            CHINESE: {
                "name": "新人礼",
                "description": "首单享九折。",
                "terms": "每个账号限领一张，不可与其他优惠券同时使用。",
            }
        },
        basis_points=1000,
        cap=3000,
        min_spend=2000,
        currency="EUR",
        valid_days=30,
    )


def create_invited_campaign() -> Campaign:
    """Return the campaign for invited people, made where it is missing."""
    return _campaign(
        INVITED,
        description="Five euros off, because a friend brought you here.",
        translations={CHINESE: {"name": "朋友带您来", "description": "朋友带您来，立减五欧元。"}},
        audience=Audience.INVITED,
        amount=500,
        min_spend=2500,
        currency="EUR",
        valid_days=30,
    )


def create_sold_out_campaign() -> Campaign:
    """Return the campaign whose stock the first two of the demo's people use up."""
    return _campaign(
        SOLD_OUT,
        description="Twenty euros off for the first two people who sign up.",
        translations={CHINESE: {"name": "前两名", "description": "最先注册的两位立减二十欧元。"}},
        amount=2000,
        currency="EUR",
        stock=2,
        valid_days=90,
    )


def create_reward_rule() -> RewardRule:
    """Return the rule that gives inviters 100 points a friend, made where none exists."""
    rule = RewardRule.objects.filter(kind=RuleKind.REFERRAL).order_by("-version").first()
    return rule or RewardRule.objects.create(version=1, points=100, cap_total=50)


def seed(*, staff_password: str = "", dry_run: bool = False) -> Seeded:
    """Make whatever of the demo is missing; with `dry_run` only tell what that is.

    Running it again makes nothing twice and leaves alone what was changed meanwhile. The staff
    login gets `staff_password`, or a generated one.
    """
    seeded = Seeded()
    for name, exists, create in _steps(staff_password, seeded):
        if exists():
            seeded.existing.append(name)
            continue
        seeded.created.append(name)
        if not dry_run:
            create()
    return seeded


def is_first_start() -> bool:
    """Tell whether nobody has used this database: there is no account but the demo's people.

    The staff login is made last, so that a first start that was interrupted is one still.
    """
    return not User.objects.exclude(email__in=[person.email for person in PEOPLE]).exists()


Step = tuple[str, Callable[[], bool], Callable[[], object]]


def _steps(staff_password: str, seeded: Seeded) -> list[Step]:
    """Return what makes up the demo: its name, whether it exists, and how to make it."""
    # The campaigns come first: people get what runs when they register.
    return [
        _campaign_step(WELCOME, create_welcome_campaign),
        _campaign_step(INVITED, create_invited_campaign),
        _campaign_step(SOLD_OUT, create_sold_out_campaign),
        ("rule: 100 points a friend", RewardRule.objects.exists, create_reward_rule),
        *[_person_step(person) for person in PEOPLE],
        (
            f"staff: {STAFF_EMAIL}",
            User.objects.filter(email=STAFF_EMAIL).exists,
            lambda: _create_staff(staff_password, seeded),
        ),
    ]


def _campaign_step(name: str, create: Callable[[], Campaign]) -> Step:
    return (f"campaign: {name}", Campaign.objects.filter(name=name).exists, create)


def _person_step(person: Person) -> Step:
    create = _create_unlucky_person if person is PEOPLE[-1] else _create_person
    exists = User.objects.filter(email=person.email).exists
    return (f"person: {person.email}", exists, lambda: create(person))


def _campaign(name: str, **columns: object) -> Campaign:
    found = Campaign.objects.filter(name=name).order_by("created_at").first()
    return found or Campaign.objects.create(
        name=name,
        trigger=Trigger.REGISTRATION,
        status=CampaignStatus.ACTIVE,
        starts_at=timezone.now(),
        **columns,
    )


def has_staff_login() -> bool:
    """Tell whether the staff login is there. Only a first start makes it by itself."""
    return User.objects.filter(email=STAFF_EMAIL, is_staff=True, is_active=True).exists()


def set_staff_password(password: str) -> None:
    """Give the staff login another password, and make it where nobody has its address."""
    staff = User.objects.filter(email=STAFF_EMAIL).first()
    if staff is None:
        User.objects.create_superuser(STAFF_EMAIL, password)
        return
    if not staff.check_password(password):  # storing the same anew would end all sessions
        accounts.set_password(user=staff, password=password)


def _create_staff(password: str, seeded: Seeded) -> None:
    if not password:
        password = seeded.staff_password = secrets.token_urlsafe(12)
    User.objects.create_superuser(STAFF_EMAIL, password)


def _create_person(person: Person) -> User:
    """Register somebody and deliver at once, so that the demo is complete before workers start."""
    user = _register(person)
    _deliver_all()
    return user


def _create_unlucky_person(person: Person) -> User:
    """Register somebody whose coupon fails for good; replaying that delivery issues it."""
    # One transaction: a worker that runs already must not deliver the coupon before it has failed.
    with transaction.atomic():
        user = _register(person)
        _fail_for_good(Delivery.objects.get(receiver=WELCOME_RECEIVER, key=str(user.pk)))
    _deliver_all()
    return user


def _register(person: Person) -> User:
    inviter = User.objects.filter(email=person.inviter).first()
    # Nobody logs in as these people, so nobody needs to know their passwords.
    registration = accounts.register(
        email=person.email,
        password=secrets.token_urlsafe(24),
        referral_code=inviter.referral_code if inviter else "",
        agreed=Agreed(channel=Channel.PAGE),
    )
    set_name(user_id=registration.user.pk, name=person.name)
    # Where addresses must be confirmed first, these count as confirmed.
    accounts.complete_registration(user_id=registration.user.pk)
    return registration.user


def _fail_for_good(delivery: Delivery) -> None:
    """Give a delivery the verdict of a worker whose receiver can never succeed."""
    delivery.attempts = 1
    delivery.lease_token = uuid4()
    Delivery.objects.filter(pk=delivery.pk).update(
        state=DeliveryState.RUNNING,
        due_at=None,
        attempts=delivery.attempts,
        lease_token=delivery.lease_token,
        lease_expires_at=Now() + _LEASE,
    )
    try:
        raise PermanentFailure("A failure made for the demo. Replay this delivery to mend it.")
    except PermanentFailure as error:
        settle.fail(delivery, describe(error), started_at=timezone.now(), retry_in_s=None)


def _deliver_all() -> None:
    """Run what is due here; what a worker takes meanwhile is in good hands."""
    while sum([drain(queue, budget_s=5) for queue in all_queues()]):
        pass
