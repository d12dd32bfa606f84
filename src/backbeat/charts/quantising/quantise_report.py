"""What quantising did: distances, what was moved or merged, divisions, tempi and meters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import DIVISIONS, Chart, Strokes
from backbeat.charts.quantising.bars import BarPlan
from backbeat.charts.quantising.grid import Divided
from backbeat.charts.quantising.placing import Placed
from backbeat.charts.quantising.tempo_map import TempoMap


@dataclass(frozen=True)
class Spread:
    """Distances in milliseconds: median, 95th percentile and largest; 0 where there are none."""

    median_ms: float
    p95_ms: float
    max_ms: float

    @classmethod
    def of(cls, distances_s: NDArray[np.float64]) -> Spread:
        """Summarise distances in seconds, shape (notes,)."""
        if distances_s.size == 0:
            return cls(0.0, 0.0, 0.0)
        away_ms = 1000 * np.abs(distances_s)
        return cls(*(round(float(np.percentile(away_ms, share)), 3) for share in (50, 95, 100)))


@dataclass(frozen=True)
class TempoSegment:
    """A tempo from a moment of the audio on: seconds, quarter notes a minute."""

    start_s: float
    bpm: float


@dataclass(frozen=True)
class MeterSegment:
    """A meter from a bar on, which counts from 0."""

    bar: int
    signature: str


@dataclass(frozen=True)
class QuantiseReport:
    """What quantising did.

    Parameters
    ----------
    strokes, notes
        How many there were and are; `strokes - notes` is `merged`.
    bars
        How many bars the chart has.
    from_grid
        How far the strokes were heard from the nearest place of their bar's division.
    moved_by
        How far the notes are from where they were heard.
    finer
        Notes that stand on a finer place than their bar's division has.
    moved
        Notes that stand beside their place since it was taken.
    merged, merged_at
        Strokes that became one with another nearer than a tick; when and on which lane, the first of them.
    divisions
        Bars by division; "free" where most strokes fit none.
    swing
        Ratios of swing that occur: place of the off-beat in its pair.
    tempi, meters
        Where tempo and meter change, the first at the start.
    lead_in_s
        How long the first bar lasts when it only leads in, else 0.
    warnings
        Where what was given disagrees with what was heard.
    """

    strokes: int
    notes: int
    bars: int
    from_grid: Spread
    moved_by: Spread
    finer: int
    moved: int
    merged: int
    merged_at: tuple[tuple[float, str], ...]
    divisions: dict[str, int]
    swing: tuple[float, ...]
    tempi: tuple[TempoSegment, ...]
    meters: tuple[MeterSegment, ...]
    lead_in_s: float
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object: plain lists, dictionaries, strings and numbers."""
        value = asdict(self)
        for name in ("swing", "tempi", "meters", "warnings"):
            value[name] = list(value[name])
        value["merged_at"] = [list(place) for place in self.merged_at]
        return value


def make_report(
    chart: Chart,
    strokes: Strokes,
    targets: NDArray[np.float64],
    written: TempoMap,
    divided: Divided,
    placed: Placed,
    plans: Sequence[BarPlan],
    warnings: Sequence[str],
) -> QuantiseReport:
    """Say what became of strokes in a chart: their nearest places, how beats were divided, where they were put."""
    counts = dict.fromkeys(DIVISIONS, 0)
    for bar in chart.bars:
        counts[bar.division] += 1
    tempi: list[TempoSegment] = []
    meters: list[MeterSegment] = []
    for index, bar in enumerate(chart.bars):
        for tempo in bar.tempi:
            if not tempi or tempi[-1].bpm != tempo.bpm:
                tempi.append(TempoSegment(round(chart.time_s(index, tempo.tick), 4), tempo.bpm))
        if not meters or meters[-1].signature != str(bar.signature):
            meters.append(MeterSegment(index, str(bar.signature)))
    swung = np.unique(np.round(divided.ratios[divided.ratios != 0.5], 3))
    return QuantiseReport(
        strokes=len(strokes),
        notes=len(chart.notes),
        bars=len(chart.bars),
        from_grid=Spread.of(written.seconds(targets) - strokes.times_s),
        moved_by=Spread.of(placed.times_s - strokes.times_s[placed.indices]),
        finer=int(np.count_nonzero(placed.finer)),
        moved=placed.moved,
        merged=len(placed.merged),
        merged_at=tuple((round(float(strokes.times_s[one]), 4), strokes.lanes[one]) for one in placed.merged[:20]),
        divisions=counts,
        swing=tuple(swung.tolist()),
        tempi=tuple(tempi),
        meters=tuple(meters),
        lead_in_s=round(chart.bars[0].duration_s, 4) if not plans[0].is_whole else 0.0,
        warnings=tuple(warnings),
    )
