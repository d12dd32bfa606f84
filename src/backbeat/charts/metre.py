"""Where a note stands in its bar: how strong the place is, by the bar's signature and division.

Levels follow the metrical hierarchy of Lerdahl and Jackendoff (A Generative Theory of Tonal Music, 1983, chapter 4):
0 the downbeat, 1 the middle of a bar of an even number of beats, 2 the other beats, 3 and 4 the first and second
division of the beat, 5 what stands on no such place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import BAR_TICKS, Bar, Chart

#: Levels: that of the weakest beat, of a beat's first division, and of places between the grid's.
BEAT_LEVEL, DIVISION_LEVEL, FREE_LEVEL = 2, 3, 5

#: Levels of the places in a beat, by how it is divided; a note is on a place within `_NEAR_BEATS` of it.
_STRAIGHT = {0: 0, 1: 4, 2: 3, 3: 4}
_TRIPLET = {0: 0, 1: 4, 2: 3, 3: 4, 4: 3, 5: 4}
_SWING = {0: 0, 2: 4, 3: 4, 4: 3}
_NEAR_BEATS = 0.12
#: Bars whose tempo differs by less than this share are counted in one tempo.
_STEADY = 0.12


@dataclass(frozen=True)
class Place:
    """A place in a bar: its metrical level, and its distance from the bar's start in whole notes."""

    level: int
    position: float


@lru_cache(maxsize=1 << 16)
def place_of(bar: Bar, tick: int, is_first: bool = False) -> Place:
    """Return the nearest place of the bar's grid, or the note's own where none is near.

    A chart's first bar may lead in, and so is counted from its end, where a downbeat is; any other from its start.
    """
    meter = bar.signature
    whole = meter.numerator / meter.denominator
    lead = (-bar.length) % whole if is_first else 0.0
    position = tick / BAR_TICKS * bar.length
    in_bar = (position + lead) % whole
    beat_length = (3 if meter.is_compound else 1) / meter.denominator
    near = _nearest(in_bar / beat_length, bar.division, meter.is_compound)
    if near is None:
        return Place(FREE_LEVEL, position)
    place_beats, level = near
    if level == 0:
        beat = round(place_beats) % meter.beats_per_bar
        level = 0 if beat == 0 else 1 if 2 * beat == meter.beats_per_bar else BEAT_LEVEL
    return Place(level, position + place_beats * beat_length - in_bar)


def _nearest(beats: float, division: str, is_compound: bool) -> tuple[float, int] | None:
    """Return the nearest place in beats, with its level within the beat (0 for the beat itself)."""
    grids = {"triplet": (_TRIPLET,), "swing": (_SWING,), "free": (_STRAIGHT, _TRIPLET)}.get(division, (_STRAIGHT,))
    found: list[tuple[float, float, int]] = []
    for grid in (_TRIPLET,) if is_compound else grids:
        parts = 6 if grid is not _STRAIGHT else 4
        index = round(beats * parts)
        if index % parts in grid:
            found.append((abs(beats - index / parts), index / parts, grid[index % parts]))
    distance, place, level = min(found, default=(np.inf, 0.0, 0))
    return (place, level) if distance <= _NEAR_BEATS else None


def places(chart: Chart) -> list[Place]:
    """Return the place of each note."""
    return [place_of(chart.bars[note.bar], note.tick, note.bar == 0) for note in chart.notes]


def steady_clock(chart: Chart) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when bars would begin, and what a whole note would last in each, if tempi did not waver.

    Shapes (bars + 1,) and (bars,), seconds. Bars that follow one another in about the same tempo share the median of
    theirs, so that a bar and its repetition are judged alike.
    """
    own_s = np.array([bar.duration_s / bar.length for bar in chart.bars])
    steady_s = own_s.copy()
    start = 0
    for index in range(1, own_s.size + 1):
        usual_s = np.median(own_s[start:index])
        if index == own_s.size or abs(own_s[index] - usual_s) > _STEADY * usual_s:
            steady_s[start:index] = usual_s
            start = index
    lengths = np.array([bar.length for bar in chart.bars])
    return np.concatenate([[0.0], np.cumsum(lengths * steady_s)]), steady_s
