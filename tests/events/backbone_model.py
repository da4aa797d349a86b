"""What the backbone should do, said so simply that it is obviously right: a list, walked along.

It knows no claims, leases, parking, batches or transactions. It is told what operators do, which
faults are on, and which deliveries a dying worker had claimed.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

MAX_ATTEMPTS = 3
EXACTLY_ONCE = ("record", "record_batch")
AT_LEAST_ONCE = ("call_outside",)
AT_MOST_ONCE = ("call_once",)
RECEIVERS = (*EXACTLY_ONCE, *AT_LEAST_ONCE, *AT_MOST_ONCE)
QUEUES = {"probe": EXACTLY_ONCE, "outside": (*AT_LEAST_ONCE, *AT_MOST_ONCE)}
FAULTS = ("raise", "permanent", "later", "killed")


@dataclass
class Owed:
    """One event owed to one receiver. Events are numbered in the order of their publication."""

    receiver: str
    number: int
    key: str
    state: str = "open"  # or done, dead, skipped
    attempts: int = 0
    failures: int = 0  # attempts kept as failed ones
    due: bool = True
    in_lane: bool = True  # until it is replayed after its end
    effects: int = 0  # that are certain
    perhaps: int = 0  # effects more, made by a worker that died of it among others


class Model:
    """Everything that is owed, the faults that are on, the receivers that are paused."""

    def __init__(self) -> None:
        self.owed: list[Owed] = []
        self.faults: dict[int, str] = {}
        self.paused: set[str] = set()

    def publish(self, number: int, key: str) -> None:
        """Owe an event to every receiver."""
        self.owed += [Owed(receiver, number, key) for receiver in RECEIVERS]

    def find(self, receiver: str, number: int) -> Owed:
        """Return what is owed to a receiver for an event."""
        return next(o for o in self.owed if (o.receiver, o.number) == (receiver, number))

    def before(self, owed: Owed) -> Iterator[Owed]:
        """Yield the unfinished ones before this one in its lane."""
        for other in self.owed:
            same_lane = (other.receiver, other.key) == (owed.receiver, owed.key)
            both_in_order = owed.in_lane and other.in_lane
            unfinished = other.state in ("open", "dead")
            if same_lane and both_in_order and unfinished and other.number < owed.number:
                yield other

    def may_run(self, owed: Owed, beside: Collection[int] = ()) -> bool:
        """Tell whether it may run now, where the ones `beside` it (by id()) run before it."""
        return (
            owed.state == "open"
            and owed.due
            and owed.receiver not in self.paused
            and all(id(other) in beside for other in self.before(owed))
        )

    def has_work(self, queue: str) -> bool:
        """Tell whether anything of a queue may run now."""
        return any(self.may_run(o) for o in self.owed if o.receiver in QUEUES[queue])

    def drain(self) -> None:
        """Run what may run. One walk is enough: finishing one frees only later ones."""
        for owed in self.owed:
            if self.may_run(owed):
                self.run(owed)

    def run_claim(self, claimed: Sequence[Owed]) -> None:
        """Run what one worker holds, each where nothing of its lane failed before it."""
        for owed in sorted(claimed, key=lambda owed: owed.number):
            if self.may_run(owed):
                self.run(owed)

    def run(self, owed: Owed) -> None:
        """Run one to its verdict."""
        fault = self.faults.get(owed.number)
        if owed.receiver in EXACTLY_ONCE and owed.effects:
            fault = None  # applied before: the receiver is not asked again
        if owed.receiver in EXACTLY_ONCE:
            owed.effects = 1 if fault is None else 0
        else:
            owed.effects += 1
        if owed.receiver in AT_LEAST_ONCE and fault == "killed":
            owed.perhaps += 1
        if fault == "later":
            owed.due = False
            return
        owed.attempts += 1
        if fault is None:
            owed.state = "done"
        else:
            self.fail(owed, for_good=fault == "permanent")

    def fail(self, owed: Owed, *, for_good: bool = False) -> None:
        """Count a failed attempt: later again, or dead."""
        owed.failures += 1
        exhausted = owed.attempts >= MAX_ATTEMPTS
        if for_good or exhausted or owed.receiver in AT_MOST_ONCE:
            owed.state = "dead"
        owed.due = False

    def lose_worker(self, claimed: Sequence[Owed], begun: Sequence[Owed]) -> None:
        """Let a worker die that held these and had made the calls that `begun` stands for."""
        for owed in begun:
            if owed.receiver not in EXACTLY_ONCE:
                owed.effects += 1
        if len(claimed) == 1:  # only then does its death say anything of the delivery
            claimed[0].attempts += 1
            self.fail(claimed[0])

    def pass_time(self) -> None:
        """Let every retry become due."""
        for owed in self.owed:
            owed.due = owed.due or owed.state == "open"

    def replay(self, chosen: Sequence[Owed]) -> None:
        """Put back what an operator chose, with fresh attempts."""
        for owed in chosen:
            owed.in_lane = owed.in_lane and owed.state not in ("done", "skipped")
            owed.state, owed.due, owed.attempts = "open", True, 0

    def skip(self, owed: Owed) -> None:
        """Give one up, because an operator says so."""
        owed.state, owed.due = "skipped", False
