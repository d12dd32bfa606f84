"""A tempo map through beats: a tempo that holds, and changes only where the beats really change.

The time of a beat is a continuous, piecewise linear function of its place in quarter notes, with knots where
`tempo_segments` finds changes. A robust fit (Huber's, by re-weighting) of all pieces together gives the times of the
knots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solveh_banded

from backbeat.charts.chart import BPM_DECIMALS, HIGHEST_BPM, LOWEST_BPM
from backbeat.charts.quantising.tempo_segments import SegmentParams, beat_deviation_s, changes_of_tempo, stray_beats
from backbeat.errors import ConfigError

#: A change of tempo that moves no beat by more than this is left out, seconds.
_SLIGHT_S = 0.005
#: By how much the end of a piece may be off for a rounder tempo: a click's is a round number.
_ROUNDING_S = 0.001


@dataclass(frozen=True, eq=False)
class TempoMap:
    """When each place sounds: linear between knots, and beyond them as at the ends.

    Parameters
    ----------
    quarters, times_s
        Shape (knots,), at least two, both increasing: places in quarter notes, and seconds.

    Raises
    ------
    ConfigError
        If they are not.
    """

    quarters: NDArray[np.float64]
    times_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.quarters.size < 2 or np.any(np.diff(self.quarters) <= 0) or np.any(np.diff(self.times_s) <= 0):
            raise ConfigError("a tempo map needs two knots, increasing in place and time")

    @property
    def bpm(self) -> NDArray[np.float64]:
        """Shape (knots - 1,), quarter notes a minute of each piece."""
        tempi: NDArray[np.float64] = 60.0 * np.diff(self.quarters) / np.diff(self.times_s)
        return tempi

    def seconds(self, quarters: ArrayLike) -> NDArray[np.float64]:
        """Map places (any shape) to seconds."""
        return _piecewise(np.asarray(quarters, dtype=np.float64), self.quarters, self.times_s)

    def places(self, times_s: ArrayLike) -> NDArray[np.float64]:
        """Map seconds (any shape) to places in quarter notes."""
        return _piecewise(np.asarray(times_s, dtype=np.float64), self.times_s, self.quarters)


def _piecewise(x: NDArray[np.float64], knots: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    slope = (values[piece + 1] - values[piece]) / (knots[piece + 1] - knots[piece])
    return np.asarray(values[piece] + (x - knots[piece]) * slope)


def fit_tempo_map(
    quarters: ArrayLike,
    times_s: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    at_bar_line: ArrayLike | None = None,
    params: SegmentParams | None = None,
) -> TempoMap:
    """Find the tempi that beats keep.

    Parameters
    ----------
    quarters, times_s
        Shape (beats,), at least two, both increasing: where each beat stands, and when it was heard.
    weights
        Shape (beats,), how far each is to be trusted; 1 when left out.
    at_bar_line
        Shape (beats,), which begin a bar; all when left out.
    params
        What a change costs.

    Raises
    ------
    ConfigError
        If there are fewer than two beats, or they do not increase.
    """
    x, t = np.asarray(quarters, dtype=np.float64), np.asarray(times_s, dtype=np.float64)
    if x.size < 2 or np.any(np.diff(x) <= 0) or np.any(np.diff(t) <= 0):
        raise ConfigError("a tempo map needs two beats, increasing in place and time")
    weight = np.ones(x.size) if weights is None else np.asarray(weights, dtype=np.float64)
    weight = weight * ~stray_beats(x, t)
    at_bar = np.ones(x.size, dtype=bool) if at_bar_line is None else np.asarray(at_bar_line, dtype=bool)
    knots = changes_of_tempo(x, t, weight, at_bar, params or SegmentParams())
    deviation_s = beat_deviation_s(x, t)
    fitted = refitted(TempoMap(x[knots], t[knots]), x, t, weight, deviation_s=deviation_s)
    while (plain := _without_slight_changes(fitted)).quarters.size < fitted.quarters.size:
        fitted = refitted(plain, x, t, weight, deviation_s=deviation_s)
    return fitted


def _without_slight_changes(tempo_map: TempoMap) -> TempoMap:
    """Leave out the changes of tempo that nobody hears: those least off the line past them, not two neighbours."""
    x, t = tempo_map.quarters, tempo_map.times_s
    bend_s = np.abs(t[1:-1] - t[:-2] - (t[2:] - t[:-2]) * (x[1:-1] - x[:-2]) / (x[2:] - x[:-2]))
    around_s = np.pad(bend_s, 1, constant_values=np.inf)
    least = (bend_s < around_s[:-2]) & (bend_s <= around_s[2:]) & (bend_s < _SLIGHT_S)
    kept = np.concatenate([[True], ~least, [True]])
    return TempoMap(x[kept], t[kept])


def refitted(
    tempo_map: TempoMap, quarters: ArrayLike, times_s: ArrayLike, weights: ArrayLike, *, deviation_s: float
) -> TempoMap:
    """Fit the times of a map's knots anew, to whatever was heard where; its knots stay.

    Huber's loss beyond 1.5 `deviation_s`. A knot that nothing is heard near keeps its time.

    Parameters
    ----------
    quarters, times_s, weights
        Shape (events,): places in quarter notes, when each was heard in seconds, and how far each is trusted.
    """
    x, t = np.asarray(quarters, dtype=np.float64), np.asarray(times_s, dtype=np.float64)
    trust = np.asarray(weights, dtype=np.float64)
    knots, fitted = tempo_map.quarters, tempo_map.times_s
    piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    share = (x - knots[piece]) / (knots[piece + 1] - knots[piece])
    for _ in range(8):
        off_s = t - (fitted[piece] * (1 - share) + fitted[piece + 1] * share)
        w = trust / np.maximum(1.0, np.abs(off_s) / (1.5 * deviation_s))
        main = np.bincount(piece, w * (1 - share) ** 2, knots.size) + np.bincount(piece + 1, w * share**2, knots.size)
        side = np.bincount(piece, w * share * (1 - share), knots.size)
        wanted = np.bincount(piece, w * (1 - share) * off_s, knots.size)
        wanted += np.bincount(piece + 1, w * share * off_s, knots.size)
        banded = np.stack([np.r_[0.0, side[:-1]], main + 1e-6])
        step = solveh_banded(banded, wanted)
        fitted = fitted + step
        if np.abs(step).max() < 1e-6:
            break
    return TempoMap(knots, _possible(fitted, knots))


def _possible(times_s: NDArray[np.float64], quarters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return times that increase, each piece at a tempo that a chart may have."""
    shortest_s = 60.0 * np.diff(quarters) / (0.99 * HIGHEST_BPM)
    longest_s = 60.0 * np.diff(quarters) / (1.01 * LOWEST_BPM)
    steps_s = np.clip(np.diff(times_s), shortest_s, longest_s)
    return np.asarray(np.concatenate([times_s[:1], times_s[0] + np.cumsum(steps_s)]))


def as_written(tempo_map: TempoMap, places: NDArray[np.float64]) -> tuple[TempoMap, NDArray[np.float64]]:
    """Return what a map becomes when its tempi are written to `BPM_DECIMALS`, from time 0 on.

    Each tempo is chosen from where the one before really ends, so that rounding does not add up.

    Parameters
    ----------
    places
        Shape (knots,), quarter notes: where time 0 is, where tempi change, and where the chart ends.

    Returns
    -------
    The map as written, and the tempi of its pieces, shape (knots - 1,).
    """
    aims_s = tempo_map.seconds(places)
    times_s, tempi = [0.0], []
    for begin, end, aim_s in zip(places[:-1], places[1:], aims_s[1:], strict=True):
        left_s = max(aim_s - times_s[-1], 60.0 * (end - begin) / HIGHEST_BPM)
        tempi.append(_rounded(float(np.clip(60.0 * (end - begin) / left_s, LOWEST_BPM, HIGHEST_BPM)), left_s))
        times_s.append(times_s[-1] + 60.0 * (end - begin) / tempi[-1])
    return TempoMap(places, np.array(times_s)), np.array(tempi)


def _rounded(bpm: float, lasts_s: float) -> float:
    """Return a tempo with as few decimals as put the end of its piece off by no more than `_ROUNDING_S`."""
    for decimals in range(BPM_DECIMALS):
        short = round(bpm, decimals)
        if LOWEST_BPM <= short <= HIGHEST_BPM and abs(bpm / short - 1) * lasts_s <= _ROUNDING_S:
            return short
    return round(bpm, BPM_DECIMALS)
