"""Where a DTX chart changes tempo and bar length, in numbers that every engine times alike.

DTXMania keeps times in whole milliseconds and starts anew from the truncated time at each change of tempo and of bar
length, so that each can lose up to 1 ms for all that follows (limyz/DTXmaniaNX, issue 164): a song of 200 changes
ends a tenth of a second off. A chart in which every change falls on a whole millisecond loses nothing there, and is
the same to an engine that counts exactly. So each change is moved to the nearest one, by up to half a millisecond and
never adding up, through the tempo of the stretch before it.

Tempi have names of two base-36 digits. Hours of a free tempo would need more than there are: changes then fall on every
second or fourth millisecond, so that more of them are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import floor
from typing import NamedTuple

from backbeat.charts.chart import BAR_TICKS, Chart
from backbeat.errors import AnnotationError

#: Names of tempi: 01 to ZZ.
MOST_TEMPI = 36 * 36 - 1
#: Milliseconds on whose multiples changes fall: the first with which the names suffice.
_GRAINS_MS = (1, 2, 4)
#: Decimals of a tempo: a stretch of a minute is then right to a microsecond.
_DECIMALS = 6
#: The part of a millisecond that a stretch may lose, and keep its tempo.
_LOST_MS = 1e-5


class TempoAt(NamedTuple):
    """A tempo from a place on."""

    bar: int
    tick: int
    bpm: float


@dataclass(frozen=True)
class TempoPlan:
    """What a DTX chart says of time.

    Parameters
    ----------
    bpm
        The chart's own tempo, which engines show: the one that half of the time is not above.
    tempi
        The tempi where they change; the first only where it is not `bpm`.
    lengths
        (bar, length) where the length changes, in whole notes; before the first it is 1.
    """

    bpm: float
    tempi: tuple[TempoAt, ...]
    lengths: tuple[tuple[int, float], ...]


class _Stretch(NamedTuple):
    bar: int
    tick: int
    length: float
    bpm: float


def tempo_plan(chart: Chart) -> TempoPlan:
    """Return tempi and lengths of a chart, its changes moved to whole milliseconds.

    Raises
    ------
    AnnotationError
        If there are more different tempi than names.
    """
    for grain_ms in _GRAINS_MS:
        plan = _plan(chart, grain_ms)
        count = len({tempo.bpm for tempo in plan.tempi})
        if count <= MOST_TEMPI:
            return plan
    raise AnnotationError(f"{count} different tempi; a DTX chart can name {MOST_TEMPI}: change it less often")


def _plan(chart: Chart, grain_ms: int) -> TempoPlan:
    stretches = _stretches(chart)
    main = _main_bpm(chart)
    tempi, in_force = [], main
    for stretch, bpm in zip(stretches, _whole_ms_bpms(chart, stretches, grain_ms), strict=True):
        if bpm != in_force:
            tempi.append(TempoAt(stretch.bar, stretch.tick, bpm))
            in_force = bpm
    lengths, length = [], 1.0
    for number, bar in enumerate(chart.bars):
        if bar.length != length:
            lengths.append((number, bar.length))
            length = bar.length
    return TempoPlan(main, tuple(tempi), tuple(lengths))


def _stretches(chart: Chart) -> list[_Stretch]:
    """Return the stretches of one tempo and one length."""
    stretches: list[_Stretch] = []
    for number, bar in enumerate(chart.bars):
        for tempo in bar.tempi:
            if not stretches or stretches[-1][2:] != (bar.length, tempo.bpm):
                stretches.append(_Stretch(number, tempo.tick, bar.length, tempo.bpm))
    return stretches


def _main_bpm(chart: Chart) -> float:
    """Return the median of the tempi, each weighing as much as it lasts."""
    lasting: dict[float, float] = {}
    for bar in chart.bars:
        ends = (*(tempo.tick for tempo in bar.tempi[1:]), BAR_TICKS)
        for tempo, end in zip(bar.tempi, ends, strict=True):
            span_s = bar.seconds(end) - bar.seconds(tempo.tick)
            lasting[tempo.bpm] = lasting.get(tempo.bpm, 0.0) + span_s
    half_s, passed_s = sum(lasting.values()) / 2, 0.0
    for bpm in sorted(lasting):
        passed_s += lasting[bpm]
        if passed_s >= half_s * (1 - 1e-9):
            return bpm
    raise AssertionError("a chart has a bar")


def _whole_ms_bpms(chart: Chart, stretches: list[_Stretch], grain_ms: int) -> list[float]:
    """Return each stretch's tempo, such that the next one begins at a whole millisecond; the last keeps its own."""
    bpms, now_ms = [], 0
    for stretch, following in pairwise(stretches):
        ticks = (following.bar - stretch.bar) * BAR_TICKS + following.tick - stretch.tick
        weight = 625 * ticks * stretch.length
        span_ms = grain_ms * round(1000 * chart.time_s(following.bar, following.tick) / grain_ms) - now_ms
        bpm = stretch.bpm
        if span_ms > 0 and not 0 <= weight / bpm - span_ms <= _LOST_MS:
            bpm = floor(weight / span_ms * 10**_DECIMALS) / 10**_DECIMALS
        bpms.append(bpm)
        now_ms += floor(weight / bpm)
    return [*bpms, stretches[-1].bpm]
