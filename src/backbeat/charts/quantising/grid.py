"""How beats are divided, by evidence: straight, in triplets or swung, and how finely.

Each division of a beat has places, of which some are played more than others. Strokes are off their place by a
Gaussian, or anywhere now and then; a division costs the more the rarer it is, and so does going from one to another,
less at bar lines than within a bar. The cheapest way through all beats is taken (Viterbi), which is that of a minimum
description length.

A swung off-beat stands where it is played, at one ratio for a stretch, not on the last triplet: a chart scrolls by
time, and at 120 BPM a ratio of 0.58 lies 43 ms from the triplet. Near to the triplet it stands on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.beat.viterbi import best_states
from backbeat.charts.quantising.bars import BarPlan

#: The divisions that are considered, by name as in `chart.DIVISIONS`, coarse and fine.
STATES: tuple[str, ...] = ("straight", "straight", "triplet", "triplet", "swing", "swing")
_SWING, _SWING_FINE = 4, 5
#: What a beat with strokes costs in each, negative logarithm.
_RARITY = (0.0, 1.0, 0.5, 2.0, 0.5, 0.8)
#: What going from one to another costs, within a bar and at a bar line.
_CHANGE_COST, _CHANGE_AT_BAR_COST = 4.0, 3.0
#: Share of strokes that lie anywhere.
_ANYWHERE = 0.03
#: Ratios of swing that are tried, of eighths and of sixteenths, and from where on a triplet is meant.
_EIGHTHS, _SIXTEENTHS = np.arange(0.54, 0.77, 0.01), np.arange(0.52, 0.71, 0.01)
_TRIPLET, _NEAR_TRIPLET = 2 / 3, 0.015
#: Strokes that are enough to tell a ratio of swing by, and that are looked at.
_FEWEST_SWUNG, _MOST_LOOKED_AT = 8, 6000


@dataclass(frozen=True, eq=False)
class Groups:
    """The beats of bars as they are divided: quarters, dotted quarters in compound meters, eighths in 7/8.

    Parameters
    ----------
    starts, lengths
        Shape (groups,), quarter notes; contiguous.
    bars
        Shape (groups,), index of the bar of each.
    """

    starts: NDArray[np.float64]
    lengths: NDArray[np.float64]
    bars: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Divided:
    """How each group is divided.

    Parameters
    ----------
    groups
        The groups.
    states
        Shape (groups,), indices of `STATES`.
    ratios
        Shape (groups,), place of the swung eighth in the group (of the swung sixteenth in its half); 0.5 elsewhere.
    """

    groups: Groups
    states: NDArray[np.int64]
    ratios: NDArray[np.float64]

    def nearest(self, quarters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the nearest place to each, both shape (strokes,), in quarter notes."""
        groups = self.groups
        index = np.clip(np.searchsorted(groups.starts, quarters, side="right") - 1, 0, groups.starts.size - 1)
        phases = (quarters - groups.starts[index]) / groups.lengths[index]
        placed = phases.copy()
        for length in np.unique(groups.lengths):
            for state in range(len(STATES)):
                for ratio in np.unique(self.ratios[(self.states == state) & (groups.lengths == length)]):
                    chosen = (self.states == state) & (groups.lengths == length) & (self.ratios == ratio)
                    members = np.flatnonzero(chosen[index])
                    if members.size:
                        places = np.r_[[place for place, _ in _places(state, float(length), float(ratio))], 1.0]
                        away = np.abs(phases[members, None] - places)
                        placed[members] = places[np.argmin(away, axis=1)]
        return np.asarray(groups.starts[index] + placed * groups.lengths[index])


def groups_of(bars: Sequence[BarPlan]) -> Groups:
    """Return the groups of bars."""
    starts, lengths, indices = [], [], []
    for index, bar in enumerate(bars):
        counted = bar.quarters / bar.beats
        length = counted if counted <= 0.5 or abs(counted - 1.5) < 1e-9 else 1.0
        count = max(1, round(bar.quarters / length))
        starts.append(bar.start + np.arange(count) * (bar.quarters / count))
        lengths.append(np.full(count, bar.quarters / count))
        indices.append(np.full(count, index))
    return Groups(np.concatenate(starts), np.concatenate(lengths), np.concatenate(indices))


def divide(
    groups: Groups,
    durations_s: NDArray[np.float64],
    quarters: NDArray[np.float64],
    deviation_s: float,
) -> Divided:
    """Choose how each group is divided.

    Parameters
    ----------
    groups
        At least one.
    durations_s
        Shape (groups,), how long each lasts, seconds.
    quarters
        Shape (strokes,), where strokes were heard, in quarter notes.
    deviation_s
        Standard deviation of a stroke about its place, seconds.
    """
    index = np.clip(np.searchsorted(groups.starts, quarters, side="right") - 1, 0, groups.starts.size - 1)
    phases = (quarters - groups.starts[index]) / groups.lengths[index]
    events = _Events(index, phases, durations_s[index], groups.lengths[index], groups.starts.size, deviation_s)
    plain = np.stack([events.costs(state) for state in range(_SWING)], axis=1)
    busy = np.bincount(index, minlength=groups.starts.size) > 0
    eighths = _ratio(events, plain, busy, _SWING, _EIGHTHS)
    sixteenths = _ratio(events, plain, busy, _SWING_FINE, _SIXTEENTHS)
    swung = [events.costs(_SWING, eighths), events.costs(_SWING_FINE, sixteenths)]
    costs = np.concatenate([plain, np.stack(swung, axis=1)], axis=1) + busy[:, None] * np.array(_RARITY)
    same = np.eye(len(STATES), dtype=bool)
    within, at_bar = np.where(same, 0.0, -_CHANGE_COST), np.where(same, 0.0, -_CHANGE_AT_BAR_COST)
    begins = np.r_[True, np.diff(groups.bars) > 0]
    states = best_states(-np.array(_RARITY), within, at_bar, begins, -costs)
    ratios = np.full(states.size, 0.5)
    ratios[states == _SWING] = _local_ratios(events, states, _SWING, eighths)
    ratios[states == _SWING_FINE] = _local_ratios(events, states, _SWING_FINE, sixteenths)
    return Divided(groups, states, ratios)


def _places(state: int, quarters: float, ratio: float) -> tuple[tuple[float, float], ...]:
    """Return (place in the group, how much of the playing falls on it) of a division; none where there is none."""
    dotted, short = abs(quarters - 1.5) < 1e-9, quarters <= 0.5
    halves = ((0.0, 0.55), (0.5, 0.45))
    fours = ((0.0, 0.4), (0.25, 0.15), (0.5, 0.3), (0.75, 0.15))
    eights = tuple((k / 8, (0.34, 0.04, 0.12, 0.04, 0.26, 0.04, 0.12, 0.04)[k]) for k in range(8))
    thirds = ((0.0, 0.4), (1 / 3, 0.3), (2 / 3, 0.3))
    sixths = tuple((k / 6, (0.34, 0.09, 0.2, 0.09, 0.2, 0.08)[k]) for k in range(6))
    twelfths = tuple((k / 12, sixths[k // 2][1] * 0.8 if k % 2 == 0 else 0.2 / 6) for k in range(12))
    if state >= _SWING:
        if dotted or (short and state == _SWING):
            return ()
        if state == _SWING or short:
            return ((0.0, 0.5), (ratio, 0.5))
        return ((0.0, 0.4), (ratio / 2, 0.15), (0.5, 0.3), (0.5 + ratio / 2, 0.15))
    if dotted:
        return (sixths, twelfths, fours, eights)[state]
    if short:
        return (halves, fours, thirds, sixths)[state]
    return (fours, eights, thirds, sixths)[state]


@dataclass(frozen=True, eq=False)
class _Events:
    """Strokes in their groups: index of the group, place in it, its seconds and quarter notes, shape (strokes,)."""

    index: NDArray[np.int64]
    phases: NDArray[np.float64]
    group_s: NDArray[np.float64]
    quarters: NDArray[np.float64]
    groups: int
    deviation_s: float

    def costs(self, state: int, ratio: float = 0.5) -> NDArray[np.float64]:
        """Return what the strokes of each group cost in a division, shape (groups,)."""
        each = np.zeros(self.index.size)
        for quarters in np.unique(self.quarters):
            chosen = self.quarters == quarters
            each[chosen] = self._each(chosen, _places(state, float(quarters), ratio))
        return np.asarray(np.bincount(self.index, each, minlength=self.groups), dtype=np.float64)

    def _each(self, chosen: NDArray[np.bool_], places: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
        if not places:
            return np.full(int(np.count_nonzero(chosen)), 20.0)
        phases, group_s = self.phases[chosen], self.group_s[chosen]
        density = np.zeros(phases.size)
        # The next beat belongs to the group as well: a stroke just before it is early.
        for place, share in (*places, (1.0, places[0][1])):
            away = (phases - place) * group_s / self.deviation_s
            density += share * np.exp(-0.5 * away * away)
        density *= (1 - _ANYWHERE) / (np.sqrt(2 * np.pi) * self.deviation_s)
        return np.asarray(-np.log(density + _ANYWHERE / group_s) - np.log(group_s))

    def thinned(self) -> _Events:
        """Return these events, or a stretch from the middle of each part where they are many."""
        every = -(-self.index.size // _MOST_LOOKED_AT)
        if every <= 1:
            return self
        # Whole groups: beats are judged by all their strokes.
        kept = (self.index // 8) % every == 0
        return _Events(
            self.index[kept],
            self.phases[kept],
            self.group_s[kept],
            self.quarters[kept],
            self.groups,
            self.deviation_s,
        )


def _ratio(
    events: _Events, plain: NDArray[np.float64], busy: NDArray[np.bool_], state: int, tried: NDArray[np.float64]
) -> float:
    """Return the ratio of swing at which the strokes cost least where swing is cheaper than all else."""
    looked_at = events.thinned()
    seen = np.zeros(events.groups, dtype=bool)
    seen[looked_at.index] = True
    chosen = seen & busy
    if not chosen.any():
        return _TRIPLET
    other = (plain + np.array(_RARITY[:_SWING]))[chosen].min(axis=1)
    totals = [np.minimum(looked_at.costs(state, float(ratio))[chosen] + _RARITY[state], other).sum() for ratio in tried]
    return _settled(float(tried[int(np.argmin(totals))]))


def _settled(ratio: float) -> float:
    return _TRIPLET if abs(ratio - _TRIPLET) < _NEAR_TRIPLET else ratio


def _local_ratios(
    events: _Events, states: NDArray[np.int64], state: int, ratio: float, apart: int = 8, reach: float = 0.08
) -> NDArray[np.float64]:
    """Return the ratio of each group in this state: that of its stretch, where it has strokes enough to tell by."""
    members = np.flatnonzero(states == state)
    local = np.full(members.size, ratio)
    if members.size == 0:
        return local
    stretch = np.r_[0, np.cumsum(np.diff(members) > apart)]
    here = states[events.index] == state
    fine = state == _SWING_FINE
    phases = events.phases[here]
    halved = fine & (events.quarters[here] > 0.5)
    phases = np.where(halved, (phases * 2) % 1.0, phases)
    stretch_of = stretch[np.searchsorted(members, events.index[here])]
    off_beat = np.abs(phases - ratio) < reach
    for number in range(int(stretch[-1]) + 1):
        own = phases[off_beat & (stretch_of == number)]
        if own.size >= _FEWEST_SWUNG:
            local[stretch == number] = _settled(round(float(np.median(own)), 3))
    return local
