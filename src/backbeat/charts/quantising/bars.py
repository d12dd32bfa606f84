"""Bars from beats: meters named, and where each bar and beat stands on a line of quarter notes.

Position 0 of that line is the first downbeat of the first bar that has a beat in it. Nothing here says when a bar
sounds: that is `tempo_map`'s to find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.beat.meter import estimate_time_signature
from backbeat.charts.chart import Strokes
from backbeat.charts.quantising.counting import LONGEST_EIGHTH_S, Counted, bar_phase, recounted, without_gaps
from backbeat.errors import ConfigError
from backbeat.music import Beats, TimeSignature

#: A meter is told from as many bars in a row; fewer are bars of a beat more or less within it.
_STEADY_BARS = 4
#: The most beats between two downbeats that are one bar.
_LONGEST_BAR_BEATS = 10
#: The most that trackers count; of more there is seldom one.
_LONGEST_HEARD = 7


def whole_quarters(signature: TimeSignature) -> float:
    """Return the length of a bar in quarter notes."""
    return 4.0 * signature.numerator / signature.denominator


@dataclass(frozen=True)
class BarPlan:
    """A bar on the line of quarter notes.

    Parameters
    ----------
    start, end
        Where it begins and ends, in quarter notes.
    signature
        Its meter.
    beats
        Beats that are counted in a whole bar of it.
    """

    start: float
    end: float
    signature: TimeSignature
    beats: int

    @property
    def quarters(self) -> float:
        """Its length in quarter notes."""
        return self.end - self.start

    @property
    def is_whole(self) -> bool:
        """Whether it is as long as its signature says."""
        return abs(self.quarters - whole_quarters(self.signature)) < 1e-6


@dataclass(frozen=True, eq=False)
class Layout:
    """Bars, and the beats that were heard in them.

    Parameters
    ----------
    bars
        Contiguous, from that of the first beat to that of the last.
    quarters
        Shape (beats,), where each beat stands, in quarter notes; increasing.
    times_s
        Shape (beats,), when each was heard, seconds; nothing is said where `heard` is false.
    heard
        Shape (beats,), false for beats that were only filled in.
    """

    bars: tuple[BarPlan, ...]
    quarters: NDArray[np.float64]
    times_s: NDArray[np.float64]
    heard: NDArray[np.bool_]


def lay_out_bars(beats: Beats, onsets_s: ArrayLike, strokes: Strokes, signature: TimeSignature | None = None) -> Layout:
    """Lay bars on beats.

    Parameters
    ----------
    beats
        At least two. Without positions the meter is taken for 4/4, with the bar where kick and snare say.
    onsets_s
        Shape (onsets,), seconds, all onsets heard: they tell 6/8 from 2/4.
    strokes
        What the drums play.
    signature
        The meter of all bars, where it is known; the bar lies where most downbeats agree.

    Raises
    ------
    ConfigError
        If there are fewer than two beats, or the beats heard cannot be counted in the meter given.
    """
    if len(beats) < 2:
        raise ConfigError("no beats were heard to lay bars on: give the tempo, with --bpm")
    counted = without_gaps(beats)
    onsets = np.asarray(onsets_s, dtype=np.float64)
    if signature is not None:
        counted, size = recounted(counted, strokes, signature)
        return _laid(counted, np.array([], dtype=np.int64), size, lambda *_: [signature])
    if not np.any(counted.positions == 1):
        phase = bar_phase(counted, strokes, 4)
        counted = Counted(counted.times_s, (np.arange(counted.times_s.size) - phase) % 4 + 1, counted.heard)
        return _laid(counted, np.array([], dtype=np.int64), 4, lambda *_: [TimeSignature(4, 4)])
    downbeats = np.flatnonzero(counted.positions == 1)
    size = int(np.median(np.diff(downbeats))) if downbeats.size > 1 else max(4, int(counted.positions.max()))

    def name(sizes: NDArray[np.int64], firsts: NDArray[np.int64]) -> list[TimeSignature]:
        return _signatures(counted, onsets, sizes, firsts)

    return _laid(counted, downbeats, size, name)


def _laid(
    counted: Counted,
    downbeats: NDArray[np.int64],
    size: int,
    name: Callable[[NDArray[np.int64], NDArray[np.int64]], list[TimeSignature]],
) -> Layout:
    """Lay bars between downbeats; whole bars of what is usual around the first and the last.

    `downbeats` are indices of beats (those at position 1 when there are none), `name` gives the signature of bars
    from their sizes and the indices of their first beats (or one for all).
    """
    firsts = downbeats if downbeats.size else np.flatnonzero(counted.positions == 1)
    if firsts.size == 0:
        firsts = np.array([1 - int(counted.positions[0])])
    count = counted.times_s.size
    edges: list[int] = []
    for first, following in zip(firsts.tolist(), [*firsts.tolist()[1:], None], strict=True):
        edges.append(first)
        # Downbeats that are missing for long were not heard, unless beats were counted on all the while.
        while following is not None and _is_too_long(counted, edges[-1], following):
            edges.append(edges[-1] + size)
    lead = edges[1] - edges[0] if len(edges) > 1 else size
    while edges[0] > 0:
        edges.insert(0, edges[0] - lead)
    tail = edges[-1] - edges[-2] if len(edges) > 1 else size
    while edges[-1] <= count - 1:
        edges.append(edges[-1] + tail)
    if len(edges) < 2:
        edges.append(edges[0] + size)
    sizes, starts = np.diff(edges), np.array(edges[:-1])
    names = name(sizes, starts)
    signatures = names * sizes.size if len(names) == 1 else names
    bars: list[BarPlan] = []
    start = 0.0
    for signature, beats in zip(signatures, sizes.tolist(), strict=True):
        bars.append(BarPlan(start, start + whole_quarters(signature), signature, int(beats)))
        start = bars[-1].end
    bar = np.searchsorted(starts, np.arange(count), side="right") - 1
    begins, lengths = np.array([one.start for one in bars]), np.array([one.quarters for one in bars])
    quarters = begins[bar] + (np.arange(count) - starts[bar]) * (lengths / sizes)[bar]
    return Layout(tuple(bars), quarters, counted.times_s, counted.heard)


def _is_too_long(counted: Counted, first: int, following: int) -> bool:
    beats = following - first
    return beats > _LONGEST_BAR_BEATS or (beats > _LONGEST_HEARD and counted.positions[following - 1] != beats)


def _signatures(
    counted: Counted, onsets_s: NDArray[np.float64], sizes: NDArray[np.int64], starts: NDArray[np.int64]
) -> list[TimeSignature]:
    """Name the meter of each bar: by stretches of like bars, and a stray bar in the unit of its neighbours."""
    count = counted.times_s.size
    cuts = np.flatnonzero(np.diff(sizes)) + 1
    firsts, lasts = np.r_[0, cuts], np.r_[cuts, sizes.size]
    longest = int(np.argmax(lasts - firsts))
    units: list[TimeSignature | None] = []
    for run, (first, last) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True)):
        begin, end = max(0, int(starts[first])), min(count, int(starts[last - 1] + sizes[last - 1] + 1))
        if last - first < _STEADY_BARS and run != longest:
            units.append(None)
            continue
        positions = (np.arange(begin, end) - int(starts[first])) % int(sizes[first]) + 1
        times_s = counted.times_s[begin:end]
        near_s = onsets_s[slice(*np.searchsorted(onsets_s, [times_s[0], times_s[-1]]))]
        usual = TimeSignature(int(sizes[first]), 4)
        heard = estimate_time_signature(Beats(times_s, positions), near_s) or usual
        # Six and seven are written as eighths by convention; beats as long as quarters are none.
        is_slow = heard.numerator == usual.numerator and np.median(np.diff(times_s)) > LONGEST_EIGHTH_S
        units.append(usual if is_slow else heard)
    named: list[TimeSignature] = []
    known = [index for index, unit in enumerate(units) if unit is not None]
    for run, (first, last) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True)):
        unit = units[run]
        if unit is None:
            near = units[min(known, key=lambda other: (abs(other - run), other > run))]
            beats = int(sizes[first])
            compound = near is not None and near.is_compound
            unit = TimeSignature(beats * 3 if compound else beats, near.denominator if near is not None else 4)
        named.extend([unit] * (last - first))
    return named
