"""What relay tells when somebody asks what happened to a user."""

from uuid import UUID

from django.utils.translation import gettext as _

from events.operations.story import Fact, Remark, Subject, Told
from events.operations.tellers import teller
from relay.risk import RiskCheck, RiskCheckState

MAX_CHECKS = 50  # of one person: the newest


@teller
def tell(subject: Subject) -> Told:
    """Tell every risk check of the person, and what came of it."""
    checks = _checks(subject.key)
    return Told(
        facts=[fact for check in checks for fact in _facts(check)],
        remarks=[_remark(check) for check in checks],
    )


def _checks(key: str) -> list[RiskCheck]:
    try:
        checks = RiskCheck.objects.filter(user=UUID(key))
    except ValueError:  # an event about something else
        return []
    return list(checks.order_by("-pk")[:MAX_CHECKS])


def _facts(check: RiskCheck) -> list[Fact]:
    answered = _("the risk check was answered: %(decision)s") % {"decision": check.decision}
    happened = [
        (check.timed_out_at, _("nobody has answered the risk check in time")),
        (check.answered_at, answered),
    ]
    return [
        Fact(at=at, text=f"relay: {text}", event_id=check.event_id) for at, text in happened if at
    ]


def _remark(check: RiskCheck) -> Remark:
    texts = {
        RiskCheckState.WAITING: _("A risk check waits for its answer until %(deadline)s."),
        RiskCheckState.ANSWERED: _("A risk check was answered: %(decision)s."),
        RiskCheckState.TIMED_OUT: _("A risk check got no answer in time; one may still come."),
        RiskCheckState.ANSWERED_LATE: _("A risk check was answered late: %(decision)s."),
    }
    text = texts[RiskCheckState(check.state)] % {
        "deadline": check.deadline_at.isoformat(timespec="seconds"),
        "decision": check.decision,
    }
    return Remark(text=text, event_id=check.event_id)
