"""`make bench`: the names it knows, the shape of what it writes, how it ends. Nothing is measured in earnest."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.figures import Figure
from benchmarks.run import BENCHES, main

REPOSITORY = Path(__file__).resolve().parents[2]
RUN = REPOSITORY / "benchmarks" / "run.py"
FIELDS = ["name", "value", "unit", "bar", "ok"]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def bench_of(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A bench named `votes` whose figures a test sets."""
    module = ModuleType("benchmarks.votes")
    monkeypatch.setitem(sys.modules, "benchmarks.votes", module)
    return module


def test_an_unknown_name_ends_with_2_and_tells_the_known_ones() -> None:
    result = bench("telescope")
    assert result.returncode == 2
    for name in ("votes", "boxes", "live", "prefilter", "browser"):
        assert f"'{name}'" in result.stderr


def test_every_name_has_a_module_that_measures_and_a_heading_in_the_guide() -> None:
    headings = re.findall(r"^## `(\w+)`", (REPOSITORY / "docs/guide/performance.md").read_text(), re.MULTILINE)
    assert headings == list(BENCHES)
    assert [name for name in headings if not callable(importlib.import_module(f"benchmarks.{name}").measure)] == []


def test_a_run_prints_a_line_and_writes_a_row_for_each_figure(tmp_path: Path) -> None:
    result = bench("votes", "--tiny", "--results", tmp_path)
    assert result.stderr == ""
    rows = json.loads((tmp_path / "votes.json").read_text(encoding="utf-8"))
    assert [list(row) for row in rows] == [FIELDS] * len(rows)
    for row in rows:
        assert isinstance(row["value"], int | float)
        assert row["bar"] is None or re.fullmatch(r"(<=|>=) [\d.e-]+", row["bar"])
        assert isinstance(row["ok"], bool)
    printed = result.stdout.splitlines()
    assert len(printed) == len(rows)
    for line, row in zip(printed, rows, strict=True):
        assert line.startswith(f"votes     {row['name']}: ")
    assert result.returncode == (0 if all(row["ok"] for row in rows) else 1)


def test_a_missed_bar_ends_with_1_and_is_written_down(
    bench_of: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    met, missed = Figure("met", 4, "statements", at_most=4), Figure("missed", 0.8, "", at_least=0.9)
    free = Figure("free", 9, "ms")
    bench_of.measure = lambda *, tiny: iter([met, free])  # type: ignore[attr-defined]
    assert main(["votes", "--results", str(tmp_path)]) == 0
    bench_of.measure = lambda *, tiny: iter([met, free, missed])  # type: ignore[attr-defined]
    assert main(["votes", "--results", str(tmp_path)]) == 1
    rows = json.loads((tmp_path / "votes.json").read_text(encoding="utf-8"))
    assert [(row["bar"], row["ok"]) for row in rows] == [("<= 4", True), (None, True), (">= 0.9", False)]
    assert "missed: 0.8  (bar >= 0.9: MISSED)" in capsys.readouterr().out


def test_a_bench_that_breaks_leaves_no_figures_of_an_earlier_run(bench_of: ModuleType, tmp_path: Path) -> None:
    def broken(*, tiny: bool) -> Iterator[None]:
        raise RuntimeError("no database")
        yield

    (tmp_path / "votes.json").write_text("[]")
    bench_of.measure = broken  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="no database"):
        main(["votes", "--results", str(tmp_path)])
    assert not (tmp_path / "votes.json").exists()
