"""What would somebody get, and why not? `manage.py simulate --user mei@example.com`."""

from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from coupons.queries import campaign_names
from events.management.telling import write_json
from events.management.usage import USAGE_ERROR
from project.simulating import (
    Simulation,
    coupon_in_words,
    document_of,
    find_account,
    reward_in_words,
    simulate,
)
from rulebook import Step


def campaign_id(text: str) -> UUID:
    """Parse a campaign's id. Raises ArgumentTypeError."""
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id of a campaign (a UUID).") from None


class Command(BaseCommand):
    """Ask every rule that the receivers ask, and tell which of them decides."""

    help = (
        "What a person would get from campaigns, and the person's inviter for them, if their "
        "registration were delivered now: rule by rule, by the code that decides. Writes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--user",
            required=True,
            metavar="WHO",
            help="e-mail address, account id, referral code or coupon code",
        )
        parser.add_argument(
            "--campaign",
            type=campaign_id,
            metavar="ID",
            help="default: all that run, or ran when the person registered",
        )
        parser.add_argument(
            "--afresh",
            action="store_true",
            help="as if the person registered now, and nothing were decided so far",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run. Raises CommandError (2) where there is no such account or campaign."""
        simulation = _simulate(options)
        if options["json"]:
            return write_json(self.stdout, document_of(simulation))
        return self.stdout.write("\n".join(_lines(simulation)))


def _simulate(options: dict[str, Any]) -> Simulation:
    wanted = options["campaign"]
    if wanted and not campaign_names([wanted]):
        raise CommandError("There is no campaign with this id.", returncode=USAGE_ERROR)
    user_id = find_account(options["user"])
    found = user_id and simulate(user_id, campaign_id=wanted, afresh=options["afresh"])
    if not found:
        raise CommandError(
            "There is no account with this address, id or code.", returncode=USAGE_ERROR
        )
    return found


def _lines(simulation: Simulation) -> Iterator[str]:
    how = "as if for the first time" if simulation.afresh else "when the person registered"
    account, reward = simulation.account, simulation.reward
    at = f"{simulation.at:%Y-%m-%d %H:%M:%S} UTC"
    yield f"Account {account.id} ({account.status}), as of {at}, {how}."
    for each in simulation.coupons:
        yield f"Campaign “{each.campaign}” ({each.campaign.pk}): {coupon_in_words(each)}"
        yield from _asked(each.steps)
    if not simulation.coupons:
        yield "No campaign runs, or ran then."
    if simulation.are_more:
        yield "There are more campaigns: name one by --campaign."
    yield f"Reward of the inviter ({reward.inviter_id or 'nobody'}): {reward_in_words(reward)}"
    yield from _asked(reward.steps)
    yield "Nothing was written."


def _asked(steps: Sequence[Step[Any, Any]]) -> Iterator[str]:
    for step in steps:
        yield f"  {'yes' if step.verdict is None else 'NO '}  {step.rule.claim}"
