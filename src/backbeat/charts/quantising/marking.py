"""When beats fall by the drums, for the tempo to be told by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import Strokes

#: How far from a beat a stroke may mark it, seconds, and as a share of the beat.
_MARKS_S, _MARKS_SHARE = 0.045, 0.15
#: What a beat counts for beside a stroke on it.
_BEAT_WEIGHT = 0.3
#: A habit of fewer bars is chance; and the most that one is, seconds.
_FEWEST_BARS, _LARGEST_HABIT_S = 8, 0.025


def marked_beats(beats_s: NDArray[np.float64], strokes: Strokes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when each beat falls by the strokes on it, and how far that is to be trusted, both shape (beats,).

    Beats without a stroke are moved by what beats and strokes differ by in the middle of the song.
    """
    marks_s = np.full(beats_s.size, np.nan)
    reach_s = np.minimum(_MARKS_S, _MARKS_SHARE * np.gradient(beats_s))
    first = np.searchsorted(strokes.times_s, beats_s - reach_s)
    last = np.searchsorted(strokes.times_s, beats_s + reach_s)
    for index in np.flatnonzero(last > first):
        near = slice(first[index], last[index])
        marks_s[index] = np.average(strokes.times_s[near], weights=strokes.velocities[near])
    away_s = marks_s - beats_s
    marked = np.isfinite(away_s)
    bias_s = float(np.median(away_s[marked])) if np.count_nonzero(marked) >= 8 else 0.0
    marked &= np.abs(np.where(marked, away_s, 0.0) - bias_s) < 0.025
    # The tracker's error and the player's are about as large: half-way between is nearer than either.
    times_s = np.where(marked, 0.5 * (marks_s + beats_s + bias_s), beats_s + bias_s)
    weights = np.where(marked, 1.0, _BEAT_WEIGHT)
    # Two beats never change places.
    if np.any(np.diff(times_s) <= 0):
        return beats_s, np.ones(beats_s.size)
    return times_s, weights


def without_habits(
    times_s: NDArray[np.float64], places: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return beats less what each place of the bar is usually early or late by: a snare laid back is no new tempo.

    The classical decomposition of a series into its trend, a mean over a bar, and what is periodic about it.

    Parameters
    ----------
    times_s
        Shape (beats,), seconds.
    places, sizes
        Shape (beats,), place of each in its bar, from 0, and the beats of that bar.
    """
    out = times_s.copy()
    for size in np.unique(sizes[sizes > 1]).tolist():
        half = size // 2
        weights = np.ones(2 * half + 1)
        if size % 2 == 0:
            weights[[0, -1]] = 0.5
        middle = np.arange(half, times_s.size - half)
        if middle.size == 0:
            continue
        around = middle[:, None] + np.arange(-half, half + 1)
        # Only where all beats around are there, in bars of this size.
        steady = np.all(sizes[around] == size, axis=1)
        steady &= np.all(np.diff(places[around], axis=1) % size == 1, axis=1)
        off_s = times_s[middle] - times_s[around] @ weights / size
        habits_s = np.zeros(size)
        for place in range(size):
            own = off_s[steady & (places[middle] == place)]
            if own.size < _FEWEST_BARS:
                habits_s[:] = 0.0
                break
            habits_s[place] = np.median(own)
        habits_s = np.clip(habits_s - habits_s.mean(), -_LARGEST_HABIT_S, _LARGEST_HABIT_S)
        here = sizes == size
        out[here] -= habits_s[places[here] % size]
    return out if np.all(np.diff(out) > 0) else times_s
