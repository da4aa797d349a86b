"""Write the measured part of docs/benchmarks.md from the JSON documents of `benchmarks.all`."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.served import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- written by `make bench-full`, not by hand -->"
END = "<!-- end of what `make bench-full` writes -->"


def write(directory: Path, page: Path = PAGE) -> None:
    """Replace what is between the page's marks by the figures of the documents in a directory."""
    paths = sorted(directory.glob("*.json"))
    documents = {path.stem: json.loads(path.read_text()) for path in paths}
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(before + "\n".join([BEGIN, "", *_page(documents), END]) + after)


def _page(documents: dict[str, dict[str, Any]]) -> Iterator[str]:
    machines = dict.fromkeys(
        _machine(each["machine"]) for each in documents.values() if "machine" in each
    )
    for machine in machines:
        yield from (machine, "")
    for lock, versions in _versions(documents.values()):
        yield from (f"`{lock}`: {versions}.", "")
    if machines:
        yield from ("Medians of rounds, with the lowest and the highest in brackets.", "")
    for name, document in documents.items():
        yield from (f"### {name}", "")
        if "command" in document:
            yield from (f"`{document['command'].strip()}`{_measured(document)}", "")
        yield from _judgement(document.get("judgement", {}))
        yield from _figures(document)


def _machine(machine: dict[str, Any]) -> str:
    return (
        f"{machine['processors']} × {machine['processor']}, {machine['memory_mb']} MB, "
        f"{machine['system']}, Python {machine['python']}."
    )


def _versions(documents: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return each set of versions that something was measured with, with the lock that has it."""
    measured = (document.get("measured", {}) for document in documents)
    return sorted({pair for each in measured for pair in each.get("versions", {}).items()})


def _measured(document: dict[str, Any]) -> str:
    """Return when, of what, for how long and on what something was measured, if that is kept."""
    if "measured" not in document:
        return ""
    when = ", {on}, revision {revision}, {took_s} s".format(**document["measured"])
    return f"{when}, {document['machine']['processor']}" if "machine" in document else when


def _judgement(judgement: dict[str, Any], prefix: str = "") -> Iterator[str]:
    rows = list(_judged(judgement, prefix))
    if rows:
        yield from ("| claim | figure | target | reached |", "|---|---|---|---|", *rows, "")


def _judged(judgement: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, each in judgement.items():
        if not isinstance(each, dict):
            continue
        if "reached" not in each:
            yield from _judged(each, f"{prefix}{name}: ")
            continue
        bounds = [f"at least {each['at_least']}"] if "at_least" in each else []
        bounds += [f"at most {each['at_most']}"] if "at_most" in each else []
        reached = "yes" if each["reached"] else "**no**"
        yield f"| {prefix}{_words(name)} | {each['figure']} | {', '.join(bounds)} | {reached} |"


def _figures(document: dict[str, Any]) -> Iterator[str]:
    rows = list(_spreads(document, ()))
    if rows:
        yield from ("| what | figure |", "|---|---|", *rows, "")
    else:
        yield from ("```json", json.dumps(document, indent=2, ensure_ascii=False), "```", "")


def _spreads(figures: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Return a row for each median in a document."""
    if not isinstance(figures, dict):
        return
    if "median" in figures:
        spread = f"{figures['median']:g} ({figures['lowest']:g} … {figures['highest']:g})"
        yield f"| {': '.join(map(_words, path))} | {spread} |"
        return
    for name, each in figures.items():
        yield from _spreads(each, (*path, str(name)))


def _words(name: str) -> str:
    return name.replace("_", " ")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
