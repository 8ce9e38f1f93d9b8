"""The release's part of the bench works on a small input; nothing is measured in earnest."""

from benchmarks.release import TINY, measure_release


def test_a_small_release_is_filled_built_and_measured() -> None:
    figures = list(measure_release("", *TINY))
    assert len(figures) == 7
    assert all("300 subjects" in figure.name for figure in figures[:6])
    assert {figure.unit for figure in figures} == {"CPU s", "s", "MB", "CPU ms"}
    assert all(figure.bar is None and figure.ok for figure in figures)
    by_unit = {figure.unit: figure.value for figure in figures}
    assert 50 < by_unit["MB"] < 500
