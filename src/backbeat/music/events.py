"""Beats and onsets: sequences of times with what happens at them, validated when they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.errors import AnnotationError
from backbeat.music.drums import NOTE, ONSET_CLASSES


def _times(values: ArrayLike, what: str) -> NDArray[np.float64]:
    times_s = np.asarray(values, dtype=np.float64)
    if times_s.ndim != 1:
        raise AnnotationError(f"{what} times must be a list of numbers, not of shape {times_s.shape}")
    if not np.all(np.isfinite(times_s)):
        raise AnnotationError(f"{what} times hold NaN or infinity")
    if times_s.size and times_s[0] < 0:
        raise AnnotationError(f"{what} time {times_s[0]:g} s is negative")
    return times_s


@dataclass(frozen=True, eq=False)
class Beats:
    """Where the beats fall.

    Parameters
    ----------
    times_s
        Shape (beats,), seconds, strictly increasing.
    positions
        Shape (beats,), position in the bar from 1 (the downbeat), or None where bars are not known.

    Raises
    ------
    AnnotationError
        If times are negative, not finite or not strictly increasing, or positions do not fit them.
    """

    times_s: NDArray[np.float64]
    positions: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        times_s = _times(self.times_s, "beat")
        if np.any(np.diff(times_s) <= 0):
            first = int(np.argmax(np.diff(times_s) <= 0)) + 1
            raise AnnotationError(f"beat times do not increase: {times_s[first]:g} s follows {times_s[first - 1]:g} s")
        object.__setattr__(self, "times_s", times_s)
        if self.positions is not None:
            positions = np.asarray(self.positions, dtype=np.int64)
            if positions.shape != times_s.shape:
                raise AnnotationError(f"{times_s.size} beats have {positions.size} positions")
            if np.any(positions < 1):
                raise AnnotationError(f"position in the bar {positions.min()} is less than 1")
            object.__setattr__(self, "positions", positions)

    def __len__(self) -> int:
        return int(self.times_s.size)

    @property
    def downbeats_s(self) -> NDArray[np.float64]:
        """Times of the beats at position 1, seconds; empty where bars are not known."""
        if self.positions is None:
            return np.empty(0)
        downbeats: NDArray[np.float64] = self.times_s[self.positions == 1]
        return downbeats

    @property
    def beats_per_bar(self) -> int | None:
        """The bar length that most bars have, in beats; None where no whole bar is known."""
        if self.positions is None:
            return None
        downbeats = np.flatnonzero(self.positions == 1)
        if downbeats.size < 2:
            return None
        lengths, counts = np.unique(np.diff(downbeats), return_counts=True)
        return int(lengths[np.argmax(counts)])

    @property
    def tempo_bpm(self) -> float | None:
        """The median tempo, beats a minute; None with fewer than two beats."""
        return float(60.0 / np.median(np.diff(self.times_s))) if len(self) > 1 else None


@dataclass(frozen=True, eq=False)
class Onsets:
    """Where something is struck or begins to sound, and what.

    Parameters
    ----------
    times_s
        Shape (onsets,), seconds, not decreasing (several drums may be struck at once).
    classes
        One of `ONSET_CLASSES` for each.
    velocities
        Shape (onsets,), in (0, 1]; 1 for all when left out.

    Raises
    ------
    AnnotationError
        If times are negative, not finite or decreasing, a class is unknown, or a velocity is out of range.
    """

    times_s: NDArray[np.float64]
    classes: Sequence[str] = ()
    velocities: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        times_s = _times(self.times_s, "onset")
        if np.any(np.diff(times_s) < 0):
            first = int(np.argmax(np.diff(times_s) < 0)) + 1
            raise AnnotationError(f"onset times decrease: {times_s[first]:g} s follows {times_s[first - 1]:g} s")
        classes = tuple(self.classes) if len(self.classes) else (NOTE,) * times_s.size
        velocities = np.asarray(self.velocities, dtype=np.float64)
        if velocities.size == 0:
            velocities = np.ones(times_s.size)
        if len(classes) != times_s.size or velocities.shape != times_s.shape:
            raise AnnotationError(f"{times_s.size} onsets have {len(classes)} classes, {velocities.size} velocities")
        unknown = sorted(set(classes) - set(ONSET_CLASSES))
        if unknown:
            raise AnnotationError(f"unknown onset class {unknown[0]!r}; the classes are {', '.join(ONSET_CLASSES)}")
        if not np.all((velocities > 0) & (velocities <= 1)):
            raise AnnotationError("a velocity lies outside (0, 1]")
        object.__setattr__(self, "times_s", times_s)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "velocities", velocities)

    def __len__(self) -> int:
        return int(self.times_s.size)

    def of(self, *classes: str) -> Onsets:
        """Return only the onsets of these classes."""
        chosen = np.array([name in classes for name in self.classes], dtype=bool)
        names = [name for name in self.classes if name in classes]
        return Onsets(self.times_s[chosen], names, self.velocities[chosen])
