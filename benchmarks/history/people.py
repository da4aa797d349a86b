"""People who sign up one after the other, and the chain of events that each sets off."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import codes
from accounts.models import REFERRAL_CODE_LENGTH
from accounts.signals import user_registered
from benchmarks.history.deliveries import Deliveries, Fate, Happening
from benchmarks.history.rows import NULL, Rows, moment, uuid7_at
from coupons.models import CODE_LENGTH
from coupons.queries import WELCOME_RECEIVER
from coupons.signals import coupon_issued, coupon_redeemed
from events.signals import get_signal
from points.signals import points_earned

INVITED = 0.6
REDEEMED = 0.2
INVITES_EVERY = 20  # each twentieth person invites others
INVITERS_AT_A_TIME = 200
WELCOME_MAIL, COUPON_MAIL = "project.send_welcome_mail", "project.send_coupon_mail"
FAN_OUT = "relay.fan_out"
AMOUNT, CURRENCY, VALID_S, POINTS = 500, "EUR", 30 * 86_400, 100

# What goes wrong for a few people, and for which share of them.
MISHAPS: tuple[tuple[float, Mapping[str, Fate]], ...] = (
    (0.002, {WELCOME_RECEIVER: Fate.DEAD}),
    (0.002, {WELCOME_MAIL: Fate.DEAD}),
    (0.001, {COUPON_MAIL: Fate.SKIPPED}),
    (0.0005, {FAN_OUT: Fate.DEAD}),
    (0.0005, {WELCOME_MAIL: Fate.LATER}),
)


@dataclass(slots=True)
class Inviter:
    """Somebody whom others name, and what the ledger says of them."""

    id: str
    code: str
    rewards: int = 0


class People:
    """Writes people into a log, in order of time."""

    def __init__(
        self,
        rows: Rows,
        deliveries: Deliveries,
        random: Random,
        *,
        campaign_id: str,
        rule_id: str,
        next_position: int,
        taken_codes: Iterable[str],
        fail_from: float,
    ) -> None:
        """Take where to write, the campaign and the rule that decide about everybody, and since
        when what went wrong is still as it was.
        """
        self.deliveries, self.random = deliveries, random
        self.campaign_id, self.rule_id = campaign_id, rule_id
        self.next_position = next_position
        self._taken_codes = set(taken_codes)
        self._fail_from = fail_from
        self.count = self.coupons = 0
        self.inviters: list[Inviter] = []
        self._inviting: deque[Inviter] = deque(maxlen=INVITERS_AT_A_TIME)
        self._add: dict[str, Callable[..., None]] = {
            label: rows.adder(label)
            for label in (
                "accounts.User",
                "account.EmailAddress",
                "accounts.Referral",
                "points.PointsAccount",
                "events.Event",
                "coupons.IssueDecision",
                "coupons.Coupon",
                "coupons.Redemption",
                "coupons.FunnelStep",
                "points.RewardDecision",
                "points.Entry",
                "points.Lot",
                "points.FunnelStep",
            )
        }

    def sign_up(self, at: float) -> None:
        """Write one person: account, registration, and all that followed."""
        invites = self.count % INVITES_EVERY == 0
        fates = {} if invites or at < self._fail_from else self._mishap()
        person, code = self._account(at)
        inviter = self._inviter()
        if inviter:
            self._refer(person, inviter, at)
        data = f'"inviter_id": "{inviter.id}"' if inviter else '"inviter_id": null'
        registered = self._publish(
            user_registered.type, person, f'{{"user_id": "{person}", {data}}}', at, fates
        )
        if inviter:
            self._reward(inviter, person, registered)
        if WELCOME_RECEIVER not in fates:
            self._issue(person, registered, self._later_in_the_lane(fates))
        if invites:
            self._becomes_inviter(person, code, at)
        self.count += 1

    def _mishap(self) -> Mapping[str, Fate]:
        drawn = self.random.random()
        for share, fates in MISHAPS:
            if drawn < share:
                return fates
            drawn -= share
        return {}

    @staticmethod
    def _later_in_the_lane(fates: Mapping[str, Fate]) -> Mapping[str, Fate]:
        """Return the fates of the person's next event: what is behind a dead one waits."""
        return {FAN_OUT: Fate.WAITING} if FAN_OUT in fates else fates

    def _account(self, at: float) -> tuple[str, str]:
        person, code, time = uuid7_at(at, self.random), self._new_code(), moment(at)
        email = f"{person}@example.com"
        language = "zh-hans" if self.count % 3 == 0 else "en"
        flags = ("f", "f", "t", "f")  # returning, staff, may log in, superuser
        self._add["accounts.User"](
            person, email, email, "!", code, "active", language, time, time, *flags
        )
        self._add["account.EmailAddress"](person, email, "t", "t")
        return person, code

    def _new_code(self) -> str:
        """Return a referral code that nobody has: of hundreds of thousands, two would be alike."""
        while (code := codes.generate(REFERRAL_CODE_LENGTH)) in self._taken_codes:
            pass
        self._taken_codes.add(code)
        return code

    def _inviter(self) -> Inviter | None:
        if self._inviting and self.random.random() < INVITED:
            return self.random.choice(self._inviting)
        return None

    def _becomes_inviter(self, person: str, code: str, at: float) -> None:
        inviter = Inviter(person, code)
        self.inviters.append(inviter)
        self._inviting.append(inviter)
        self._add["points.PointsAccount"](person, "0", "0", "0", "0", moment(at))

    def _refer(self, person: str, inviter: Inviter, at: float) -> None:
        time = moment(at)
        self._add["accounts.Referral"](
            person, inviter.id, inviter.code, "approved", "[]", time, time
        )

    def _publish(
        self,
        type_: str,
        key: str,
        data: str,
        at: float,
        fates: Mapping[str, Fate],
        cause: Happening | None = None,
    ) -> Happening:
        """Write an event and what became of its deliveries."""
        event = Happening(
            position=self.next_position, id=uuid7_at(at, self.random), type=type_, key=key, at=at
        )
        self.next_position += 1
        version = str(get_signal(type_).version)
        origin = cause.id if cause else NULL
        correlation = f"load-{(cause or event).id}"
        self._add["events.Event"](
            str(event.position),
            event.id,
            type_,
            version,
            key,
            data,
            moment(at),
            correlation,
            origin,
        )
        self.deliveries.deliver(event, fates, key)
        return event

    def _issue(self, person: str, cause: Happening, fates: Mapping[str, Fate]) -> None:
        """Write the decision for a coupon, the coupon, and its use where it was used at once."""
        at = cause.at + self.random.uniform(0.02, 0.06)
        decision, coupon = uuid7_at(at, self.random), uuid7_at(at, self.random)
        used = self.random.random() < REDEEMED
        self._add["coupons.IssueDecision"](
            decision, self.campaign_id, person, "issued", "", cause.id, moment(at)
        )
        validity = (moment(at), moment(at + VALID_S), "redeemed" if used else "issued", moment(at))
        whose = (coupon, decision, self.campaign_id, person, codes.generate(CODE_LENGTH))
        self._add["coupons.Coupon"](*whose, *validity, str(AMOUNT), "0", CURRENCY)
        self.coupons += 1
        ids = f'"coupon_id": "{coupon}", "campaign_id": "{self.campaign_id}", "user_id": "{person}"'
        issued = self._publish(coupon_issued.type, person, f"{{{ids}}}", at, fates, cause)
        self._step("issued", issued)
        if used:
            self._redeem(person, coupon, ids, at + self.random.uniform(0.1, 0.4), fates)

    def _redeem(
        self, person: str, coupon: str, ids: str, at: float, fates: Mapping[str, Fate]
    ) -> None:
        redemption, order = uuid7_at(at, self.random), f"order-{self.count}"
        spent = ("4990", str(AMOUNT), CURRENCY)
        self._add["coupons.Redemption"](redemption, coupon, order, *spent, person, moment(at))
        data = (
            f'{{"redemption_id": "{redemption}", {ids}, "order_amount": 4990, '
            f'"discount": {AMOUNT}, "currency": "{CURRENCY}"}}'
        )
        self._step("redeemed", self._publish(coupon_redeemed.type, person, data, at, fates))

    def _step(self, kind: str, event: Happening) -> None:
        self._add["coupons.FunnelStep"](event.id, self.campaign_id, moment(event.at)[:10], kind)

    def _reward(self, inviter: Inviter, invitee: str, cause: Happening) -> None:
        """Write the decision to reward the inviter, and the entry of the ledger."""
        at = cause.at + self.random.uniform(0.02, 0.06)
        inviter.rewards += 1
        decision, entry, time = uuid7_at(at, self.random), uuid7_at(at, self.random), moment(at)
        granted = ("granted", "", self.rule_id, str(POINTS), cause.id, moment(cause.at), time)
        self._add["points.RewardDecision"](decision, "referral", invitee, inviter.id, *granted)
        number, balance = str(inviter.rewards), str(inviter.rewards * POINTS)
        why = (f"reward:referral:{invitee}", "referral", cause.id, time)
        self._add["points.Entry"](entry, inviter.id, number, "earn", str(POINTS), balance, *why)
        self._add["points.Lot"](entry, inviter.id, time, number, str(POINTS))
        data: dict[str, Any] = {"entry_id": entry, "user_id": inviter.id}
        ids = ", ".join(f'"{name}": "{value}"' for name, value in data.items())
        data_text = f'{{{ids}, "amount": {POINTS}, "reason": "referral"}}'
        earned = self._publish(points_earned.type, inviter.id, data_text, at, {}, cause)
        self._add["points.FunnelStep"](earned.id, inviter.id, time[:10], "rewarded", str(POINTS))
