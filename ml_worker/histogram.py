"""A batch's score histogram as lengths of a drawing, and in words."""

import math
from dataclasses import dataclass
from typing import Self

from ml_worker.models import HISTOGRAM_BINS, PrefilterBatch

LEFT, TOP, WIDTH, HEIGHT = 56, 16, 568, 232  # of the plot's area, in a drawing of 640 × 300
GAP = 2


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    count: int
    score: float  # of its left edge
    is_shown: bool  # the whole bin lies at or above the cut


@dataclass(frozen=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True)
class Histogram:
    """Counts per bin on a logarithmic height, log₁₀(1 + n): rare high scores stay visible beside many low ones."""

    counts: list[int]
    cut: float | None

    @classmethod
    def of(cls, batch: PrefilterBatch) -> Self:
        return cls(batch.shards.all().histogram(), batch.show_above)

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def sentence(self) -> str:
        if not self.total:
            return "No scores yet."
        above = [(edge / 10, sum(self.counts[edge * HISTOGRAM_BINS // 10 :])) for edge in (1, 5, 9)]
        parts = ", ".join(f"{n} score {edge} or more" for edge, n in above)
        return f"Of {self.total} scored subjects {parts}."

    @property
    def bars(self) -> list[Bar]:
        width = WIDTH / len(self.counts)
        bars = []
        for place, count in enumerate(self.counts):
            height = HEIGHT * self._height(count)
            score = place / len(self.counts)
            bars.append(
                Bar(
                    x=round(LEFT + place * width + GAP / 2, 2),
                    y=round(TOP + HEIGHT - height, 2),
                    width=round(width - GAP, 2),
                    height=round(height, 2),
                    count=count,
                    score=score,
                    is_shown=self.cut is not None and score >= self.cut - 1e-9,
                )
            )
        return bars

    def _height(self, count: int) -> float:
        """Of 1 for the top of the plot, which is the next power of ten."""
        return math.log10(1 + count) / self._decades

    @property
    def _decades(self) -> int:
        return max(1, math.ceil(math.log10(1 + max(self.counts, default=0))))

    @property
    def cut_position(self) -> float | None:
        return None if self.cut is None else round(LEFT + WIDTH * self.cut, 2)

    @property
    def score_ticks(self) -> list[Tick]:
        return [Tick(round(LEFT + WIDTH * tenth / 10, 2), f"{tenth / 10:.1f}") for tenth in range(0, 11, 2)]

    @property
    def count_ticks(self) -> list[Tick]:
        counts = [0] + [10**decade for decade in range(self._decades + 1)]
        ticks = [(n, round(TOP + HEIGHT * (1 - self._height(n)), 2)) for n in counts]
        return [Tick(position, str(n)) for n, position in ticks if position >= TOP]
