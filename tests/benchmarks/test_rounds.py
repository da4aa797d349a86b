"""What benchmarks share: rounds, spreads, judgements, and the page that is made of them."""

import json
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.all import FIGURES
from benchmarks.deliveries.contest import per_second
from benchmarks.rounds import alternating, judged, ratio, spread


def test_rounds_go_forth_and_back() -> None:
    assert list(alternating(["a", "b"], 3)) == [
        (0, "a"),
        (0, "b"),
        (1, "b"),
        (1, "a"),
        (2, "a"),
        (2, "b"),
    ]


def test_a_spread_is_the_median_with_the_extremes_and_each() -> None:
    assert spread([3.14, 1.0, 2.0]) == {
        "median": 2.0,
        "lowest": 1.0,
        "highest": 3.1,
        "rounds": [3.1, 1.0, 2.0],
    }


def test_a_ratio_is_of_medians() -> None:
    assert ratio(spread([30.0]), spread([20.0])) == 1.5
    assert ratio(spread([30.0]), spread([0.0])) is None


def test_a_figure_is_judged_by_its_bounds() -> None:
    assert judged(5, at_least=5) == {"figure": 5, "at_least": 5, "reached": True}
    assert judged(5, at_most=4) == {"figure": 5, "at_most": 4, "reached": False}
    assert judged(None, at_least=1)["reached"] is False


def test_a_rate_is_of_the_middle_however_slowly_it_began_and_ended() -> None:
    steady = [100 + n / 10 for n in range(1001)]
    hesitant = [
        *(at - 50 for at in steady[:100]),
        *steady[100:901],
        *(at + 9 for at in steady[901:]),
    ]

    assert per_second(steady) == pytest.approx(10)
    assert per_second(hesitant) == pytest.approx(10)


def test_the_page_has_claims_and_figures_between_its_marks(tmp_path: Path) -> None:
    target = tmp_path / "benchmarks.md"
    target.write_text(f"# Before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    machine = {
        "processor": "Z80",
        "processors": 1,
        "memory_mb": 1,
        "system": "CP/M",
        "python": "3.11.0",
        "load": [0.0],
    }
    document = {
        "command": "python -m benchmarks.some_thing",
        "measured": {"on": "2026-01-02", "revision": "abc123", "took_s": 7},
        "machine": machine,
        "rates": {"usher": spread([3.0, 5.0])},
        "judgement": {"per_s": judged(4.0, at_least=6)},
    }
    (tmp_path / "some_thing.json").write_text(json.dumps(document))

    page.write(tmp_path, target)

    text = target.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "1 × Z80, 1 MB, CP/M, Python 3.11.0." in text
    assert "`python -m benchmarks.some_thing`, 2026-01-02, revision abc123, 7 s, Z80" in text
    assert "| per s | 4.0 | at least 6 | **no** |" in text
    assert "| rates: usher | 4 (3 … 5) |" in text


def test_the_page_of_the_repository_has_the_figures_that_are_kept(tmp_path: Path) -> None:
    text = page.PAGE.read_text()
    copied = tmp_path / "page.md"
    copied.write_text(text)

    page.write(FIGURES, copied)

    assert text.count(page.BEGIN) == text.count(page.END) == 1
    assert copied.read_text() == text
