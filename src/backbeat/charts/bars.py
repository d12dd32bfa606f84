"""Bars from beats: gaps filled, meters named, and where each bar and beat stands on a line of quarter notes.

Position 0 of that line is the first downbeat of the first bar that has a beat in it. Nothing here says when a bar
sounds: that is `tempo_map`'s to find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from backbeat.beat.meter import estimate_time_signature
from backbeat.charts.chart import Strokes
from backbeat.errors import ConfigError
from backbeat.music import Beats, TimeSignature

#: Beats nearer to the one before are slips of the tracker: no music is counted at 500 a minute.
SHORTEST_BEAT_S = 0.12
#: A meter is told from as many bars in a row; fewer are bars of a beat more or less within it.
_STEADY_BARS = 4
#: The most beats between two downbeats that are one bar.
_LONGEST_BAR_BEATS = 10
#: From this length of the counted beat on, it can be no eighth note (seconds).
_LONGEST_EIGHTH_S = 0.4
#: How far from a beat a stroke belongs to it, seconds.
_NEAR_S = 0.06


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


@dataclass(frozen=True, eq=False)
class _Counted:
    """Beats without gaps: times, positions (0 where not known) and which were heard, all of shape (beats,)."""

    times_s: NDArray[np.float64]
    positions: NDArray[np.int64]
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
    counted = _without_gaps(beats)
    onsets = np.asarray(onsets_s, dtype=np.float64)
    if signature is not None:
        counted, size = _recounted(counted, strokes, signature)
        return _laid(counted, np.array([], dtype=np.int64), size, lambda *_: [signature])
    if not np.any(counted.positions == 1):
        phase = _phase(counted, strokes, 4)
        counted = _Counted(counted.times_s, (np.arange(counted.times_s.size) - phase) % 4 + 1, counted.heard)
        return _laid(counted, np.array([], dtype=np.int64), 4, lambda *_: [TimeSignature(4, 4)])
    downbeats = np.flatnonzero(counted.positions == 1)
    size = int(np.median(np.diff(downbeats))) if downbeats.size > 1 else max(4, int(counted.positions.max()))

    def name(sizes: NDArray[np.int64], firsts: NDArray[np.int64]) -> list[TimeSignature]:
        return _signatures(counted, onsets, sizes, firsts)

    return _laid(counted, downbeats, size, name)


def _without_gaps(beats: Beats) -> _Counted:
    """Drop beats that cannot be, and fill in those that are missing, at the tempo around them."""
    kept = [0]
    for index in range(1, len(beats)):
        if beats.times_s[index] - beats.times_s[kept[-1]] >= SHORTEST_BEAT_S:
            kept.append(index)
    times_s = beats.times_s[kept]
    positions = np.zeros(times_s.size, dtype=np.int64) if beats.positions is None else beats.positions[kept]
    if times_s.size < 2:
        raise ConfigError("no beats were heard to lay bars on: give the tempo, with --bpm")
    intervals_s = np.diff(times_s)
    local_s = median_filter(intervals_s, size=9, mode="nearest")
    size = beats.beats_per_bar or 4
    out_s, out_positions, heard = [times_s[:1]], [positions[:1]], [np.ones(1, dtype=bool)]
    for index in range(intervals_s.size):
        steps = _steps(
            float(intervals_s[index] / local_s[index]), int(positions[index]), int(positions[index + 1]), size
        )
        if steps > 1:
            between = np.arange(1, steps) / steps
            out_s.append(times_s[index] + between * intervals_s[index])
            first = positions[index]
            out_positions.append((first - 1 + np.arange(1, steps)) % size + 1 if first else np.zeros(steps - 1, int))
            heard.append(np.zeros(steps - 1, dtype=bool))
        out_s.append(times_s[index + 1 : index + 2])
        out_positions.append(positions[index + 1 : index + 2])
        heard.append(np.ones(1, dtype=bool))
    return _Counted(np.concatenate(out_s), np.concatenate(out_positions).astype(np.int64), np.concatenate(heard))


def _steps(ratio: float, position: int, following: int, size: int) -> int:
    """Return how many beats an interval is long: what fits its length and the positions at its ends best."""
    if ratio < 1.5:
        return 1
    nearest = max(1, round(ratio))
    if not position:
        return nearest

    def cost(steps: int) -> float:
        expected = (position - 1 + steps) % size + 1
        fits = following == expected or (steps == 1 and following in (1, position + 1))
        return abs(float(np.log(ratio / steps))) + (0.0 if fits else 0.3)

    return min((steps for steps in range(max(1, nearest - 2), nearest + 3)), key=cost)


def _phase(counted: _Counted, strokes: Strokes, size: int) -> int:
    """Return which beat of the first `size` begins a bar: downbeats as tracked, then kick and crash on 1, snare on 2.

    In bars of two beats and more the snare speaks against the downbeat, and for the beats around the middle.
    """
    index = np.arange(counted.times_s.size)
    tracked = np.bincount(index % size, weights=(counted.positions == 1).astype(float), minlength=size)
    score = 4.0 * tracked
    for lane, weight in (("kick", 1.0), ("snare", -1.0), ("crash_left", 2.0), ("crash_right", 2.0)):
        times_s = strokes.of(lane).times_s
        nearest = _nearest(counted.times_s, times_s)
        close = np.abs(counted.times_s[nearest] - times_s) <= _NEAR_S
        hits = np.bincount(np.unique(nearest[close]) % size, minlength=size)
        score += weight * hits
        if lane == "snare" and size % 2 == 0:
            score += 0.5 * np.roll(hits, -1)  # the backbeat lies on the beat after the downbeat
    return int(np.argmax(score))


def _nearest(sorted_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the nearest of sorted times for each time, shape of `times_s`."""
    after = np.clip(np.searchsorted(sorted_s, times_s), 1, max(1, sorted_s.size - 1))
    nearest: NDArray[np.int64] = np.where(times_s - sorted_s[after - 1] <= sorted_s[after] - times_s, after - 1, after)
    return nearest


def _recounted(counted: _Counted, strokes: Strokes, signature: TimeSignature) -> tuple[_Counted, int]:
    """Count the beats heard in a meter; also return the beats in its bar.

    Which note the tracker's beat is: the meter's own beat, or its eighth where that is nearer to what was heard.
    """
    beat_s = float(np.median(np.diff(counted.times_s)))
    size = signature.beats_per_bar
    if signature.denominator == 8 and not signature.is_compound and beat_s > _LONGEST_EIGHTH_S:
        counted = _divided(counted, 2)  # quarter notes were heard: seven eighths have no whole number of them
    if signature.is_compound and beat_s < _LONGEST_EIGHTH_S:
        first = _phase(counted, strokes, 3)
        if counted.times_s[first::3].size < 2:
            raise ConfigError(f"{counted.times_s.size} beats are too few for a bar of {signature}")
        counted = _Counted(counted.times_s[first::3], counted.positions[first::3], counted.heard[first::3])
    phase = _phase(counted, strokes, size)
    positions = (np.arange(counted.times_s.size) - phase) % size + 1
    return _Counted(counted.times_s, positions, counted.heard), size


def _divided(counted: _Counted, parts: int) -> _Counted:
    """Put beats between the beats."""
    count = (counted.times_s.size - 1) * parts + 1
    times_s = np.interp(np.arange(count) / parts, np.arange(counted.times_s.size), counted.times_s)
    positions, heard = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    positions[::parts], heard[::parts] = counted.positions, counted.heard
    return _Counted(times_s, positions, heard)


def _laid(
    counted: _Counted,
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
        # Downbeats that are missing for long were not heard: no bar has as many beats.
        while following is not None and following - edges[-1] > _LONGEST_BAR_BEATS:
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


def _signatures(
    counted: _Counted, onsets_s: NDArray[np.float64], sizes: NDArray[np.int64], starts: NDArray[np.int64]
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
        is_slow = heard.numerator == usual.numerator and np.median(np.diff(times_s)) > _LONGEST_EIGHTH_S
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
