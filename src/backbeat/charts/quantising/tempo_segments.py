"""Where beats change their tempo.

Knots at all beats are removed one by one, the least missed first, for as long as a line through the beats of two
neighbouring pieces is missed by less than a change of tempo costs (bottom-up segmentation: Keogh, Chu, Hart and
Pazzani, "An online algorithm for segmenting time series", ICDM 2001; the cost is that of a minimum description length).
Those that are left are moved to where they fit best, to a bar line rather than elsewhere.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Of one beat, seconds: what a tracker's beats, or a drummer's strokes on them, are off by at the least and most.
LEAST_DEVIATION_S, MOST_DEVIATION_S = 0.005, 0.012
#: A change costs in a short song what it costs in one of so many beats: chance is the same for each of them.
_FEWEST_COUNTED = 400
#: From this distance on a beat may be a wrong one, seconds.
_STRAY_S = 0.025
#: Knots within so many beats may belong to one excursion, of so many knots and wrong beats at most.
_EXCURSION, _LONGEST_RUN, _MOST_WRONG = 8, 5, 3
#: How many standard deviations a wrong beat counts.
_MOST_DEVIATIONS = 3.0


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

    change_cost: float = 6.0
    off_bar_cost: float = 2.0


def changes_of_tempo(
    quarters: NDArray[np.float64],
    times_s: NDArray[np.float64],
    weights: NDArray[np.float64],
    at_bar_line: NDArray[np.bool_],
    params: SegmentParams,
) -> list[int]:
    """Return the indices of the beats at which the tempo changes, between the first and the last, which are among them.

    Parameters
    ----------
    quarters, times_s, weights, at_bar_line
        Shape (beats,): where each beat stands, when it was heard, how far it is trusted, and whether it begins a bar.
    params
        What a change costs.
    """
    deviation_s = beat_deviation_s(quarters, times_s)
    evidence = params.change_cost + np.log(max(quarters.size, _FEWEST_COUNTED)) + params.off_bar_cost * ~at_bar_line
    costs = evidence * deviation_s**2
    knots = _segmented(quarters, times_s, weights, costs)
    knots = _without_excursions(quarters, times_s, weights, knots, costs, deviation_s)
    return _moved(quarters, times_s, weights, knots, costs)


def stray_beats(x: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.bool_]:
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


def beat_deviation_s(x: NDArray[np.float64], t: NDArray[np.float64]) -> float:
    """Return the standard deviation of one beat about its time, whatever the tempo does.

    By how far beats lie from midway between their neighbours: where one is late, the next is early by as much again (a
    covariance of minus the variance of a beat, in units of half the second difference); a tempo that wanders has none.
    """
    if x.size < 8:
        return LEAST_DEVIATION_S
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    bend_s = t[1:-1] - t[:-2] - share * (t[2:] - t[:-2])
    most_s = 4 * 1.4826 * float(np.median(np.abs(bend_s)))
    bend_s = np.clip(bend_s, -most_s, most_s)
    variance = -float(np.mean(bend_s[1:] * bend_s[:-1]))
    return float(np.clip(np.sqrt(max(variance, 0.0)), LEAST_DEVIATION_S, MOST_DEVIATION_S))


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


def _without_excursions(
    x: NDArray[np.float64],
    t: NDArray[np.float64],
    weight: NDArray[np.float64],
    knots: list[int],
    costs: NDArray[np.float64],
    deviation_s: float,
) -> list[int]:
    """Leave out knots close together that only follow a few beats away from a line, and back.

    One by one they are all missed; together they are not, when a beat counts for no more than `_MOST_DEVIATIONS`.
    """
    left = list(knots)
    number = 1
    while number < len(left) - 1:
        for run in range(_LONGEST_RUN, 0, -1):
            inner = left[number : number + run]
            first, last = left[number - 1], left[min(number + run, len(left) - 1)]
            at_end = inner[0] <= _EXCURSION or inner[-1] >= x.size - 1 - _EXCURSION
            if len(inner) < run or inner[-1] >= x.size - 1 or inner[-1] - inner[0] > _EXCURSION:
                continue
            if run == 1 and not at_end:
                continue
            here = slice(max(first, inner[0] - 4 * _EXCURSION), min(last, inner[-1] + 4 * _EXCURSION) + 1)
            window = x[here] - x[here.start], t[here] - t[here.start], weight[here]
            straight, away = _robust_error(*window, np.empty(0), deviation_s)
            bent, _ = _robust_error(*window, x[inner] - x[here.start], deviation_s)
            if away <= _MOST_WRONG and straight - bent < costs[inner].sum():
                del left[number : number + run]
                number = max(0, number - _LONGEST_RUN)  # those before may be close to others now
                break
        number += 1
    return left


def _robust_error(
    x: NDArray[np.float64],
    t: NDArray[np.float64],
    weight: NDArray[np.float64],
    bends: NDArray[np.float64],
    deviation_s: float,
) -> tuple[float, int]:
    """Return the squares that lines leave which meet at `bends`, those of a beat up to `_MOST_DEVIATIONS` only.

    And how many beats are further away.
    """
    basis = np.column_stack([np.ones_like(x), x, *(np.maximum(x - bend, 0.0) for bend in bends)])
    trust = weight
    off_s = t
    for _ in range(4):
        root = np.sqrt(trust)
        solved = np.linalg.lstsq(basis * root[:, None], t * root, rcond=None)[0]
        off_s = t - basis @ solved
        trust = weight / np.maximum(1.0, np.abs(off_s) / (1.5 * deviation_s))
    most_s = _MOST_DEVIATIONS * deviation_s
    return float(np.sum(weight * np.minimum(off_s**2, most_s**2))), int(np.count_nonzero(np.abs(off_s) > most_s))


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
