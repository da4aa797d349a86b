"""Rules asked in turn: the first that has an answer decides, and the way there can be told.

Whoever decides and whoever explains a decision ask the same rules, so they can never disagree.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from django_stubs_ext import StrOrPromise

C = TypeVar("C", contravariant=True)  # the case that is judged
V = TypeVar("V", covariant=True)  # the verdict


@dataclass(frozen=True, slots=True)
class Rule(Generic[C, V]):
    """What must be so. `ask` returns the verdict where it is not, else None: the case goes on."""

    name: str  # stable, for programs
    claim: StrOrPromise  # for people: "The campaign ran then."
    ask: Callable[[C], V | None]


class Step(NamedTuple, Generic[C, V]):
    """One rule that was asked, and its verdict where it decided."""

    rule: Rule[C, V]
    verdict: V | None


def walk(rules: Sequence[Rule[C, V]], case: C) -> Iterator[Step[C, V]]:
    """Yield the rules that are asked, in order; the last is the one that decides, if one does."""
    for rule in rules:
        verdict = rule.ask(case)
        yield Step(rule, verdict)
        if verdict is not None:
            return


def put(rule: Rule[C, V], case: C) -> Step[C, V]:
    """Ask one rule by itself."""
    return Step(rule, rule.ask(case))


def decide(rules: Sequence[Rule[C, V]], case: C) -> V | None:
    """Return the first verdict, or None where every rule lets the case go on."""
    return next((step.verdict for step in walk(rules, case) if step.verdict is not None), None)
