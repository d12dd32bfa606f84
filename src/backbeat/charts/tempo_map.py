"""A tempo map through beats: a tempo that holds, and changes only where the beats really change.

The time of a beat is a continuous, piecewise linear function of its place in quarter notes. Knots are removed one by
one, the least missed first, for as long as a line through the beats of two neighbouring pieces is missed by less than
a change of tempo costs (bottom-up segmentation: Keogh, Chu, Hart and Pazzani, "An online algorithm for segmenting time
series", ICDM 2001; the cost is that of a minimum description length). Those that are left are moved to where they fit
best, to a bar line rather than elsewhere. A robust fit (Huber's, by re-weighting) of all pieces together then gives
the times of the knots.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solveh_banded

from backbeat.charts.chart import BPM_DECIMALS, HIGHEST_BPM, LOWEST_BPM
from backbeat.errors import ConfigError

#: Of one beat, seconds: what a tracker's beats, or a drummer's strokes on them, are off by at the least and most.
LEAST_DEVIATION_S, MOST_DEVIATION_S = 0.003, 0.012
#: From this distance on a beat may be a wrong one, seconds.
_STRAY_S = 0.025
#: By how much the end of a piece may be off for a rounder tempo: a click's is a round number.
_ROUNDING_S = 0.0005


@dataclass(frozen=True)
class SegmentParams:
    """What a change of tempo costs.

    Parameters
    ----------
    change_cost
        Of a change at a bar line, in units of the beats' variance; added to it is the logarithm of their number.
    off_bar_cost
        More for one that is not at a bar line.
    """

    change_cost: float = 12.0
    off_bar_cost: float = 3.0


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
    params: SegmentParams = SegmentParams(),
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
    weight = weight * ~_strays(x, t)
    at_bar = np.ones(x.size, dtype=bool) if at_bar_line is None else np.asarray(at_bar_line, dtype=bool)
    deviation_s = _deviation_s(x, t)
    costs = (params.change_cost + np.log(x.size) + params.off_bar_cost * ~at_bar) * deviation_s**2
    knots = _moved(x, t, weight, _segmented(x, t, weight, costs), costs)
    return refitted(TempoMap(x[knots], t[knots]), x, t, weight, deviation_s=deviation_s)


def _strays(x: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark up to three beats in a row that are away from where those on either side, which agree, have them.

    Shape (beats,). The beats after such a run are where those before it lead to, and the other way round: so a tempo
    that changes, or a beat that is held, is none.
    """
    strays = np.zeros(x.size, dtype=bool)
    for run in (1, 2, 3):
        before = np.arange(3, x.size - run - 4)
        if before.size == 0:
            break
        after = before + run + 1
        ahead = (t[before] - t[before - 3]) / (x[before] - x[before - 3]) * (x[after] - x[before])
        back = (t[after + 3] - t[after]) / (x[after + 3] - x[after]) * (x[after] - x[before])
        across_s = t[after] - t[before]
        slope = across_s / (x[after] - x[before])
        off_s = np.min(
            [np.abs(t[before + one] - t[before] - slope * (x[before + one] - x[before])) for one in range(1, run + 1)],
            axis=0,
        )
        agree_s = np.maximum(np.abs(ahead - across_s), np.abs(back - across_s))
        for first in before[(off_s > _STRAY_S) & (agree_s < 0.5 * off_s)]:
            strays[first + 1 : first + run + 1] = True
    return strays


def _deviation_s(x: NDArray[np.float64], t: NDArray[np.float64]) -> float:
    """Return the standard deviation of one beat, by how far beats lie from midway between their neighbours."""
    if x.size < 8:
        return LEAST_DEVIATION_S
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    bend_s = t[1:-1] - t[:-2] - share * (t[2:] - t[:-2])
    robust = 1.4826 * float(np.median(np.abs(bend_s))) / np.sqrt(1.5)
    return float(np.clip(robust, LEAST_DEVIATION_S, MOST_DEVIATION_S))


_Moments = tuple[float, float, float, float, float, float]


def _shifted(moments: _Moments, x: float, t: float) -> _Moments:
    """Return moments (of weight, x, xx, t, xt, tt) about an origin that lies `x` and `t` before the one they have."""
    n, sx, sxx, st, sxt, stt = moments
    return (
        n,
        sx + n * x,
        sxx + 2 * x * sx + n * x * x,
        st + n * t,
        sxt + t * sx + x * st + n * x * t,
        stt + 2 * t * st + n * t * t,
    )


def _sum(left: _Moments, right: _Moments) -> _Moments:
    return (
        left[0] + right[0],
        left[1] + right[1],
        left[2] + right[2],
        left[3] + right[3],
        left[4] + right[4],
        left[5] + right[5],
    )


def _line_error(moments: _Moments) -> float:
    """Return the weighted squares that a straight line leaves."""
    n, sx, sxx, st, sxt, stt = moments
    if n <= 0:
        return 0.0
    vx, vxt, vt = sxx - sx * sx / n, sxt - sx * st / n, stt - st * st / n
    return max(0.0, vt - (vxt * vxt / vx if vx > 1e-12 else 0.0))


def _bent_error(left: _Moments, right: _Moments, bend: float) -> float:
    """Return the weighted squares that two lines leave which meet at `bend`; both moments about the left's origin.

    Basis: 1, x, and how far x is beyond the bend.
    """
    n, sx, sxx, st, sxt, stt = _sum(left, right)
    rn, rx, rxx, rt, rxt, _ = right
    h, hx = rx - bend * rn, rxx - bend * rx
    hh, ht = hx - bend * h, rxt - bend * rt
    if n <= 0:
        return 0.0
    # What is left when the mean is taken out, then x, then the bend.
    vxx, vxh, vxt = sxx - sx * sx / n, hx - sx * h / n, sxt - sx * st / n
    vhh, vht, vtt = hh - h * h / n, ht - h * st / n, stt - st * st / n
    if vxx > 1e-12:
        vhh, vht, vtt = vhh - vxh * vxh / vxx, vht - vxh * vxt / vxx, vtt - vxt * vxt / vxx
    return max(0.0, vtt - (vht * vht / vhh if vhh > 1e-9 else 0.0))


def _segmented(
    x: NDArray[np.float64], t: NDArray[np.float64], weight: NDArray[np.float64], costs: NDArray[np.float64]
) -> list[int]:
    """Return the indices of the knots that are worth their cost, the first and last beat among them."""
    places = x.tolist()
    # About the mean tempo: the sums of squares then stay small over hours.
    bent = (t - t[0] - (x - x[0]) * (t[-1] - t[0]) / (x[-1] - x[0])).tolist()
    after = [*range(1, x.size), -1]
    before = [-1, *range(x.size - 1)]
    own: list[_Moments] = [(w, 0.0, 0.0, 0.0, 0.0, 0.0) for w in weight.tolist()]
    moments = list(own)
    version = [0] * x.size
    price = costs.tolist()

    def united(knot: int) -> tuple[_Moments, _Moments]:
        first = before[knot]
        return moments[first], _shifted(moments[knot], places[knot] - places[first], bent[knot] - bent[first])

    def missed(knot: int) -> float:
        left, right = united(knot)
        first, end = before[knot], after[knot]
        # The beat at which the right piece ends binds it too, though it is counted with the next.
        right = _sum(right, _shifted(own[end], places[end] - places[first], bent[end] - bent[first]))
        bend = places[knot] - places[first]
        return float(_line_error(_sum(left, right)) - _bent_error(left, right, bend) - price[knot])

    heap = [(missed(knot), knot, 0) for knot in range(1, x.size - 1)]
    heapq.heapify(heap)
    while heap:
        gain, knot, seen = heapq.heappop(heap)
        if seen != version[knot] or after[knot] < 0:
            continue
        if gain >= 0:
            break
        left, right = united(knot)
        first, following = before[knot], after[knot]
        moments[first] = _sum(left, right)
        after[first], before[following], after[knot] = following, first, -1
        for changed in (first, following):
            if 0 < changed < x.size - 1:
                version[changed] += 1
                heapq.heappush(heap, (missed(changed), changed, version[changed]))
    knots = [0]
    while knots[-1] != x.size - 1:
        knots.append(after[knots[-1]])
    return knots


def _moved(
    x: NDArray[np.float64],
    t: NDArray[np.float64],
    weight: NDArray[np.float64],
    knots: list[int],
    costs: NDArray[np.float64],
    reach: int = 6,
) -> list[int]:
    """Move each inner knot to the beat, up to `reach` away, at which its two pieces fit best for the cost."""
    placed = list(knots)
    for number in range(1, len(placed) - 1):
        first, knot, last = placed[number - 1 : number + 2]
        # A few bars on either side tell where the bend is.
        low, high = max(first, knot - 8 * reach), min(last, knot + 8 * reach)
        here = slice(low, high + 1)
        places, w = x[here] - x[low], weight[here]
        off_s = t[here] - t[low]
        best, chosen = np.inf, knot
        for candidate in range(max(first + 1, knot - reach), min(last - 1, knot + reach) + 1):
            basis = np.stack([np.ones_like(places), places, np.maximum(places - (x[candidate] - x[low]), 0.0)], axis=1)
            root = np.sqrt(w)[:, None]
            solved = np.linalg.lstsq(basis * root, off_s * root[:, 0], rcond=None)[0]
            error = float(np.sum(w * (off_s - basis @ solved) ** 2)) + float(costs[candidate])
            if error < best - 1e-12:
                best, chosen = error, candidate
        placed[number] = chosen
    return placed


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
