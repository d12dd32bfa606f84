"""Strokes on the ticks of bars: each near where it was heard, none on another of its drum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import BAR_TICKS, Strokes
from backbeat.charts.quantising.bars import BarPlan
from backbeat.charts.quantising.tempo_map import TempoMap

#: Ticks between the places of ever finer grids of a bar: 32nds, 24ths' halves, 64ths, 96ths, ... to every tick.
_FINER = (12, 8, 6, 4, 3, 2, 1)


@dataclass(frozen=True, eq=False)
class Placed:
    """Where strokes stand.

    Parameters
    ----------
    indices
        Shape (notes,), of the strokes that became notes.
    slots
        Shape (notes,), tick counted from the first bar: bar times `BAR_TICKS` and tick.
    velocities
        Shape (notes,), the loudest of those that became one.
    times_s
        Shape (notes,), when each place sounds.
    finer
        Shape (notes,), whether it is a finer place than the beat's division has.
    moved
        How many stand beside their place, which was taken.
    merged
        Indices of the strokes that became one with another.
    """

    indices: NDArray[np.int64]
    slots: NDArray[np.int64]
    velocities: list[float]
    times_s: NDArray[np.float64]
    finer: NDArray[np.bool_]
    moved: int
    merged: list[int]


@dataclass(frozen=True, eq=False)
class _Ticks:
    """The ticks of bars: where bars begin and end, in quarter notes, and when."""

    begins: NDArray[np.float64]
    ends: NDArray[np.float64]
    tempo_map: TempoMap

    @property
    def count(self) -> int:
        return self.begins.size * BAR_TICKS

    def slots(self, quarters: NDArray[np.float64], every: int = 1) -> NDArray[np.int64]:
        """Return the nearest tick, of every few in the bar, to each place."""
        bar = np.clip(np.searchsorted(self.begins, quarters, side="right") - 1, 0, self.begins.size - 1)
        share = (quarters - self.begins[bar]) / (self.ends - self.begins)[bar]
        ticks = np.round(share * BAR_TICKS / every).astype(np.int64) * every
        clipped: NDArray[np.int64] = np.clip(bar * BAR_TICKS + ticks, 0, self.count - 1)
        return clipped

    def seconds(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return when ticks sound."""
        bar, tick = slots // BAR_TICKS, slots % BAR_TICKS
        return self.tempo_map.seconds(self.begins[bar] + tick / BAR_TICKS * (self.ends - self.begins)[bar])


def place_strokes(
    bars: Sequence[BarPlan],
    tempo_map: TempoMap,
    strokes: Strokes,
    targets: NDArray[np.float64],
    tolerance_s: float,
    *,
    expressive: bool = False,
) -> Placed:
    """Put each stroke on a tick.

    Parameters
    ----------
    bars
        Contiguous from time 0 on, covering all strokes.
    tempo_map
        When places sound.
    strokes
        As heard.
    targets
        Shape (strokes,), the places that they are near, in quarter notes.
    tolerance_s
        How far from where it was heard a note may stand; half a tick more where ticks are longer.
    expressive
        Whether each goes to the tick nearest to when it was heard instead.
    """
    ticks = _Ticks(np.array([bar.start for bar in bars]), np.array([bar.end for bar in bars]), tempo_map)
    quarters = tempo_map.places(strokes.times_s)
    slots = ticks.slots(quarters if expressive else targets)
    finer = np.zeros(slots.size, dtype=bool)
    if not expressive:
        for every in _FINER:
            far = np.abs(ticks.seconds(slots) - strokes.times_s) > (
                tolerance_s if every == _FINER[0] else tolerance_s / 2
            )
            far &= finer | (every == _FINER[0])
            if not far.any():
                continue
            finer |= far
            slots[far] = ticks.slots(quarters[far], every)
    taken, moved, merged, louder = _apart(strokes, slots, ticks, tolerance_s)
    kept = np.setdiff1d(np.arange(slots.size), np.array(merged, dtype=np.int64))
    velocities = [louder.get(index, float(strokes.velocities[index])) for index in kept.tolist()]
    placed = taken[kept]
    return Placed(kept, placed, velocities, ticks.seconds(placed), finer[kept], moved, merged)


def _apart(
    strokes: Strokes, slots: NDArray[np.int64], ticks: _Ticks, tolerance_s: float
) -> tuple[NDArray[np.int64], int, list[int], dict[int, float]]:
    """Take strokes of one drum in one place apart.

    The louder stays and the other keeps its distance from it; strokes nearer than a tick become one.

    Returns
    -------
    The ticks, shape (strokes,); how many were moved; those that became one with another; and velocities of those that
    another was joined to.
    """
    slots = slots.copy()
    groups: dict[tuple[int, str], list[int]] = {}
    for index, (slot, lane) in enumerate(zip(slots.tolist(), strokes.lanes, strict=True)):
        groups.setdefault((slot, lane), []).append(index)
    crowded = [members for members in groups.values() if len(members) > 1]
    taken = set(groups)
    moved, merged = 0, []
    louder: dict[int, float] = {}
    for members in crowded:
        first, *others = sorted(members, key=lambda one: (-strokes.velocities[one], strokes.times_s[one]))
        slot, lane = int(slots[first]), strokes.lanes[first]
        tick_s = _tick_s(ticks, slot)
        settled = [first]
        for other in others:
            nearest = min(settled, key=lambda one: abs(strokes.times_s[one] - strokes.times_s[other]))
            apart_s = float(strokes.times_s[other] - strokes.times_s[nearest])
            place = None
            if abs(apart_s) >= tick_s:
                place = _free(
                    int(slots[nearest]), apart_s, lane, taken, ticks, float(strokes.times_s[other]), tolerance_s
                )
            if place is None:
                merged.append(other)
                louder[nearest] = max(
                    louder.get(nearest, 0.0), float(strokes.velocities[nearest]), float(strokes.velocities[other])
                )
                continue
            slots[other] = place
            taken.add((place, lane))
            settled.append(other)
            moved += 1
    return slots, moved, merged, louder


def _tick_s(ticks: _Ticks, slot: int) -> float:
    beside = slot + 1 if slot + 1 < ticks.count else slot - 1
    return abs(float(np.diff(ticks.seconds(np.array([slot, beside])))[0]))


def _free(
    slot: int,
    apart_s: float,
    lane: str,
    taken: set[tuple[int, str]],
    ticks: _Ticks,
    heard_s: float,
    tolerance_s: float,
) -> int | None:
    """Return the free tick nearest to so far from a slot, on that side of it and near to where it was heard.

    None where there is none.
    """
    tick_s = _tick_s(ticks, slot)
    side = 1 if apart_s > 0 else -1
    reach = int(abs(apart_s) / tick_s + tolerance_s / tick_s) + 2
    aim = max(1, round(abs(apart_s) / tick_s))
    steps = np.arange(1, reach + 1)
    steps = steps[np.argsort(np.abs(steps - aim), kind="stable")]
    places = slot + side * steps
    places = places[(places >= 0) & (places < ticks.count)]
    near = np.abs(ticks.seconds(places) - heard_s) <= max(tolerance_s, tick_s)
    for place in places[near].tolist():
        if (place, lane) not in taken:
            return int(place)
    return None
