"""Votes to probabilities: the pooled model at scale and against crowd-kit on tables with gold, streams, grades, votes
saved. The parts: scale.py, gold_tables.py, lens_stream.py, grade_model.py, savings.py.
"""

from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.gold_tables import measure_gold_tables
from benchmarks.grade_model import measure_grades
from benchmarks.lens_stream import measure_lens_stream
from benchmarks.savings import measure_savings
from benchmarks.scale import measure_scale


def measure(*, tiny: bool = False) -> Iterator[Figure]:
    for part in (measure_scale, measure_gold_tables, measure_lens_stream, measure_grades, measure_savings):
        yield from part(tiny=tiny)
