"""Who works with Usher, and what each may do: groups of Django's, made once by a migration.

From then on they are the site's own: what staff change about them stays. A superuser puts people
in a group under *Groups* and lets them log in to the admin (`is_staff`).
"""

from typing import Any

from django.apps.registry import Apps
from django.db.models import Q

_READ_EVENTS = (
    "events.view_event",
    "events.view_delivery",
    "events.view_attempt",
    "events.view_receiverstate",
)
_READ_PEOPLE = (
    "accounts.view_user",
    "accounts.view_referral",
    "accounts.view_statuschange",
    "accounts.view_consent",
    "account.view_emailaddress",
)
_READ_COUPONS = (
    "coupons.view_campaign",
    "coupons.view_coupon",
    "coupons.view_issuedecision",
    "coupons.view_redemption",
    "coupons.view_bulkissue",
    "coupons.view_bulkissuerow",
)
_READ_POINTS = (
    "points.view_pointsaccount",
    "points.view_entry",
    "points.view_rewarddecision",
    "points.view_rewardrule",
)
_READ_RELAY = (
    "relay.view_endpoint",
    "relay.view_riskcheck",
    "relay.view_receivedmessage",
    "relay.view_parkedmessage",
)
_READ_QUEUES = (
    "django_q.view_ormq",
    "django_q.view_schedule",
    "django_q.view_success",
    "django_q.view_failure",
)
_READ_INBOXES = (
    "accounts.view_processedevent",
    "coupons.view_processedevent",
    "points.view_processedevent",
    "relay.view_processedevent",
)

ROLES: dict[str, tuple[str, ...]] = {
    # Offers: campaigns, their coupons, and what inviting brings.
    "marketing": (
        *_READ_COUPONS,
        "coupons.add_campaign",
        "coupons.change_campaign",
        "points.view_rewardrule",
        "points.add_rewardrule",
        "points.change_rewardrule",
        "points.view_rewarddecision",
        "accounts.view_referral",
    ),
    # One person at a time: what happened, why, and what may be done for them.
    "support": (
        *_READ_EVENTS,
        *_READ_PEOPLE,
        *_READ_COUPONS,
        *_READ_POINTS,
        "relay.view_riskcheck",
        "project.view_mail",
        "accounts.flag_user",
        "accounts.close_user",
        "accounts.review_referral",
        "accounts.reset_second_factor",
        "mfa.view_authenticator",
        "project.view_mail",
        "points.adjust_points",
        "events.replay_delivery",
    ),
    # The machine: deliveries, receivers, endpoints, queues.
    "on-call": (
        *_READ_EVENTS,
        *_READ_INBOXES,
        *_READ_QUEUES,
        *_READ_RELAY,
        "accounts.view_user",
        "project.view_mail",
        "events.replay_delivery",
        "events.skip_delivery",
        "events.pause_receiver",
        "relay.change_endpoint",
        "relay.change_parkedmessage",
        "relay.replay_endpoint",
    ),
    # Everything, to read, and who did what; nothing to change.
    "auditor": (
        *_READ_EVENTS,
        *_READ_PEOPLE,
        *_READ_COUPONS,
        *_READ_POINTS,
        *_READ_RELAY,
        *_READ_QUEUES,
        *_READ_INBOXES,
        "admin.view_logentry",
        "project.view_mail",
        "auth.view_group",
        "knox.view_authtoken",
        "mfa.view_authenticator",
        "project.view_mail",
    ),
}


def make_roles(apps: Apps) -> None:
    """Make the groups that are missing, with their permissions.

    A group of that name that is there already is the site's own, and nobody in it gets more rights.
    Permissions that there are not (of a later release, in a migration of this one) are left out.
    """
    group_model: Any = apps.get_model("auth", "Group")
    permission_model: Any = apps.get_model("auth", "Permission")
    for name, permissions in ROLES.items():
        group, is_new = group_model.objects.get_or_create(name=name)
        if not is_new:
            continue
        wanted = Q(pk__in=[])
        for permission in permissions:
            app, _, codename = permission.partition(".")
            wanted |= Q(content_type__app_label=app, codename=codename)
        group.permissions.add(*permission_model.objects.filter(wanted))
