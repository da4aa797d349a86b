"""An intervention on a command line: begun, followed step by step, and summed up."""

import sys
from time import sleep
from typing import Any

from django.core.management.base import CommandError, OutputWrapper

from events.interventions import Intervention, InterventionKind, InterventionState
from events.management.telling import write_json
from events.management.usage import USAGE_ERROR
from events.models import DeliveryState
from events.operations import staged
from events.operations.bounded import MOST
from events.operations.freezing import (
    AlreadyUnderWay,
    NothingToFreeze,
    freeze_selection,
    left_of,
)
from events.operations.selection import Selection
from events.operations.signature import Unsigned

LOOK_EVERY_S = 1.0


def refuse_half_a_word(options: dict[str, Any]) -> None:
    """Raise CommandError where options are missing that belong together, or ask for too many."""
    if not options["in_stages"]:
        if options["by"] or options["reason"]:
            raise _wrong("--by and --reason belong to --in-stages.")
        return
    if not (options["by"] and options["reason"]):
        raise _wrong("--in-stages needs --by and --reason.")
    if not options["receiver"] or options["state"] != DeliveryState.DEAD:
        raise _wrong("--in-stages is for the dead deliveries of one --receiver.")
    if options["preview"]:
        raise _wrong("Choose one of --in-stages, --preview.")
    if options["limit"] and options["limit"] > MOST:
        raise _wrong(f"--in-stages takes at most {MOST:,} at once: give a --limit up to that.")


def bounded(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the limit that a set has, for the plan."""
    return options | {"limit": options["limit"] or MOST}


def begin(selection: Selection, options: dict[str, Any]) -> Intervention | None:
    """Freeze what is chosen; None where there is nothing. Raises CommandError."""
    try:
        return freeze_selection(
            InterventionKind.REPLAY,
            selection,
            by=options["by"],
            reason=options["reason"],
            limit=options["limit"],
        )
    except NothingToFreeze:
        return None
    except Unsigned as error:
        raise _wrong(str(error)) from None
    except AlreadyUnderWay as error:
        other = error.intervention.pk
        raise CommandError(f"{error} See `manage.py intervention {other}`.") from None


def follow(
    selection: Selection, out: OutputWrapper, err: OutputWrapper, options: dict[str, Any]
) -> None:
    """Begin, and tell how it goes until it is through or stops.

    Exits with 1 where it stopped, or where more was chosen than a set takes. Workers take the
    steps, and so does this: it may be interrupted, and they go on.
    """
    begun = begin(selection, options)
    if begun is None:
        return _sum_up_nothing(out, options)
    left = 0 if options["limit"] else left_of(selection, begun)
    try:
        _wait(begun, err)
    except KeyboardInterrupt:
        raise CommandError(
            f"Workers go on with intervention {begun.pk}. `manage.py intervention {begun.pk}` "
            "tells how far it is; with --give-up it touches nothing more."
        ) from None
    _sum_up(begun, left, out, options)
    if left or begun.state == InterventionState.STOPPED:
        sys.exit(1)
    return None


def document_of(found: Intervention) -> dict[str, Any]:
    """Return an intervention as JSON has it."""
    return {
        "intervention": found.pk,
        "kind": found.kind,
        "receiver": found.receiver,
        "fingerprint": found.fingerprint,
        "state": found.state,
        "size": found.size,
        "error": found.error,
        **staged.counts_of(found),
    }


def sentence_of(found: Intervention) -> str:
    """Return in a sentence or two how an intervention stands."""
    how = (
        f"Intervention {found.pk} ({found.kind} {found.receiver}) is {found.state}: {_told(found)}."
    )
    if found.state != InterventionState.STOPPED:
        return how
    return (
        f"{how}\nOne failed again: {found.error}\nMend that. Then "
        f"`manage.py intervention {found.pk} --go-on --by NAME --reason TEXT`, or --give-up."
    )


def _wait(begun: Intervention, err: OutputWrapper) -> None:
    said = ""
    while True:
        staged.advance(begun.pk)
        begun.refresh_from_db()
        told = _told(begun)
        if told != said:
            err.write(told)
        said = told
        if begun.state != InterventionState.RUNNING:
            return
        sleep(LOOK_EVERY_S)


def _told(found: Intervention) -> str:
    counts = staged.counts_of(found)
    parts = (f"{count} {state.replace('_', ' ')}" for state, count in counts.items() if count)
    return ", ".join(parts)


def _sum_up(begun: Intervention, left: int, out: OutputWrapper, options: dict[str, Any]) -> None:
    if options["json"]:
        return write_json(out, document_of(begun) | {"left": left})
    out.write(sentence_of(begun))
    if left:
        out.write(f"{left} more were chosen than a set takes: call it again for them.")
    return None


def _sum_up_nothing(out: OutputWrapper, options: dict[str, Any]) -> None:
    if options["json"]:
        return write_json(out, {"intervention": None, "size": 0, "left": 0})
    return out.write("Nothing to replay.")


def _wrong(sentence: str) -> CommandError:
    return CommandError(sentence, returncode=USAGE_ERROR)
