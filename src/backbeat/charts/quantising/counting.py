"""Beats counted: none too many, none missing, and their positions in the bar.

What trackers leave out or double is mended by the tempo around; a meter that is asked for is counted anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from backbeat.charts.chart import Strokes
from backbeat.errors import ConfigError
from backbeat.music import Beats, TimeSignature

#: Beats nearer to the one before are slips of the tracker: no music is counted at 500 a minute.
SHORTEST_BEAT_S = 0.12
#: From this length of the counted beat on, it can be no eighth note (seconds).
LONGEST_EIGHTH_S = 0.4
#: How far from a beat a stroke belongs to it, seconds.
_NEAR_S = 0.06


@dataclass(frozen=True, eq=False)
class Counted:
    """Beats without gaps: times, positions (0 where not known) and which were heard, all of shape (beats,)."""

    times_s: NDArray[np.float64]
    positions: NDArray[np.int64]
    heard: NDArray[np.bool_]


def without_gaps(beats: Beats) -> Counted:
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
    return Counted(np.concatenate(out_s), np.concatenate(out_positions).astype(np.int64), np.concatenate(heard))


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


def bar_phase(counted: Counted, strokes: Strokes, size: int) -> int:
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


def recounted(counted: Counted, strokes: Strokes, signature: TimeSignature) -> tuple[Counted, int]:
    """Count the beats heard in a meter; also return the beats in its bar.

    Which note the tracker's beat is: the meter's own beat, or its eighth where that is nearer to what was heard.
    """
    beat_s = float(np.median(np.diff(counted.times_s)))
    size = signature.beats_per_bar
    if signature.denominator == 8 and not signature.is_compound and beat_s > LONGEST_EIGHTH_S:
        counted = _divided(counted, 2)  # quarter notes were heard: seven eighths have no whole number of them
    if signature.is_compound and beat_s < LONGEST_EIGHTH_S:
        first = bar_phase(counted, strokes, 3)
        if counted.times_s[first::3].size < 2:
            raise ConfigError(f"{counted.times_s.size} beats are too few for a bar of {signature}")
        counted = Counted(counted.times_s[first::3], counted.positions[first::3], counted.heard[first::3])
    phase = bar_phase(counted, strokes, size)
    positions = (np.arange(counted.times_s.size) - phase) % size + 1
    return Counted(counted.times_s, positions, counted.heard), size


def _divided(counted: Counted, parts: int) -> Counted:
    """Put beats between the beats."""
    count = (counted.times_s.size - 1) * parts + 1
    times_s = np.interp(np.arange(count) / parts, np.arange(counted.times_s.size), counted.times_s)
    positions, heard = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    positions[::parts], heard[::parts] = counted.positions, counted.heard
    return Counted(times_s, positions, heard)
