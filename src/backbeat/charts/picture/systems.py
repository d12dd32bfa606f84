"""How the bars of a chart are laid out in systems, as in a score: rows of bars that end together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import BAR_TICKS, Chart

#: A bar is drawn as if it were no shorter and no longer than this, whole notes.
_SHORTEST, _LONGEST = 0.2, 2.0
#: Bars are squeezed by up to this share to take one more into a system, …
_SQUEEZE = 0.08
#: … and the last system is stretched only if it is this full.
_NEARLY_FULL = 0.85
#: A first bar whose length is this near to that of its signature is a bar like others.
_NEARLY_WHOLE = 0.05


@dataclass(frozen=True, eq=False)
class System:
    """One row of bars.

    Parameters
    ----------
    first
        Index of its first bar.
    edges
        Shape (bars + 1,): where its bars begin, and where the last ends, from 0 to 1 of the row's width.
    """

    first: int
    edges: NDArray[np.float64]

    @property
    def bars(self) -> range:
        """Indices of its bars."""
        return range(self.first, self.first + self.edges.size - 1)

    def place(self, bar: int, tick: float) -> float:
        """Return where a place in one of its bars lies, 0..1."""
        left, right = self.edges[bar - self.first : bar - self.first + 2]
        return float(left + (right - left) * tick / BAR_TICKS)

    def times_s(self, chart: Chart, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return when what lies at these places, 0..1, is heard, seconds; shape as of `places`."""
        known, heard_s = [], []
        for bar in self.bars:
            for tempo in chart.bars[bar].tempi:
                known.append(self.place(bar, tempo.tick))
                heard_s.append(chart.time_s(bar, tempo.tick))
        known.append(float(self.edges[-1]))
        heard_s.append(float(chart.starts_s[self.bars.stop]))
        return np.interp(places, known, heard_s)


def systems_of(chart: Chart, whole_notes: float) -> list[System]:
    """Return the bars in rows of about `whole_notes` each, every bar as wide as it is long."""
    widths = [min(max(bar.length, _SHORTEST), _LONGEST) / whole_notes for bar in chart.bars]
    rows: list[list[float]] = [[]]
    for width in widths:
        if rows[-1] and sum(rows[-1]) + width > 1 + _SQUEEZE:
            rows.append([])
        rows[-1].append(width)
    systems, first = [], 0
    for index, row in enumerate(rows):
        edges = np.concatenate([[0.0], np.cumsum(row)])
        if index < len(rows) - 1 or edges[-1] > _NEARLY_FULL:
            edges = edges / edges[-1]
        systems.append(System(first, edges))
        first += len(row)
    return systems


def bar_numbers(chart: Chart) -> list[int]:
    """Return the number of each bar as players count: a first bar that only leads in is 0, otherwise it is 1."""
    first = chart.bars[0]
    whole = first.signature.numerator / first.signature.denominator
    start = 0 if abs(first.length - whole) > _NEARLY_WHOLE * whole else 1
    return list(range(start, start + len(chart.bars)))
