"""Which beats come into question, and what to say when none does."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import CatalogueError, ConfigError
from backbeat.recommend.beats.rules import BeatColumns, plain_label

#: Half as fast again: with half and double time nothing needs more, and nothing sounds well that far.
MOST_STRETCH = 0.5
MOST_SEMITONES = 12
_SHOWN_LABELS = 20


@dataclass(frozen=True)
class BeatFilters:
    """Which beats come into question.

    Parameters
    ----------
    labels
        Styles, any of them; empty for all. "Boom Bap" and "boom_bap" are the same.
    tempo_range
        Least and greatest tempo of the beat itself, beats a minute.
    max_stretch
        How much faster or slower a beat may be played, as a share: 0.15 is 15 %.
    max_transpose
        Semitones by which a beat may be transposed.
    exclude
        Identifiers of beats to leave out.

    Raises
    ------
    ConfigError
        If one makes no sense.
    """

    labels: tuple[str, ...] = ()
    tempo_range: tuple[float, float] | None = None
    max_stretch: float = 0.15
    max_transpose: int = MOST_SEMITONES
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(plain_label(label) for label in self.labels):
            raise ConfigError("a label is empty: name a style, such as trap")
        if self.tempo_range is not None:
            low, high = self.tempo_range
            if not (math.isfinite(low) and math.isfinite(high) and 0 < low <= high < 1000):
                raise ConfigError(f"a tempo range of {low:g} to {high:g} bpm makes no sense: give the slower one first")
        if not 0 <= self.max_stretch <= MOST_STRETCH:
            raise ConfigError(
                f"a stretch of up to {self.max_stretch:.0%} makes no sense: {MOST_STRETCH:.0%} is the most"
            )
        if not 0 <= self.max_transpose <= MOST_SEMITONES:
            raise ConfigError(
                f"transposing by up to {self.max_transpose} semitones makes no sense: 0 to {MOST_SEMITONES}"
            )


def passing(
    filters: BeatFilters, beats: BeatColumns, stretch: NDArray[np.float32], semitones: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which beats pass, shape (beats,); `stretch` and `semitones` are what each needs, shape (beats,).

    Raises
    ------
    CatalogueError
        If none does: it names the filter that leaves nothing.
    """
    passed = np.ones(len(beats.table), dtype=np.bool_)
    for mask, hint in _masks(filters, beats, stretch, semitones):
        if not mask.any():
            raise CatalogueError(f"no beat fits: {hint}")
        if not (passed & mask).any():
            raise CatalogueError(f"no beat fits: of the {passed.sum():,} that pass the filters before, {hint}")
        passed &= mask
    return passed


def _masks(
    filters: BeatFilters, beats: BeatColumns, stretch: NDArray[np.float32], semitones: NDArray[np.int64]
) -> list[tuple[NDArray[np.bool_], str]]:
    """Return for each filter in force which beats pass it, and what to say if none does."""
    table, masks = beats.table, []
    if filters.labels:
        wanted = {plain_label(label) for label in filters.labels}
        chosen = np.array([label in wanted for label in beats.labels], dtype=np.bool_)
        known = ", ".join([label for label in beats.labels if label][:_SHOWN_LABELS]) or "none"
        hint = f"none is labelled {' or '.join(sorted(wanted))}; the catalogue's labels are {known}"
        masks.append((chosen[beats.label_of], hint))
    if filters.tempo_range is not None:
        low, high = filters.tempo_range
        within = (table.tempo_bpm >= low) & (table.tempo_bpm <= high)
        masks.append((within, f"none has a tempo of {low:g} to {high:g} bpm; widen the tempo range"))
    share = np.abs(stretch - 1)
    before = np.logical_and.reduce([mask for mask, _ in masks]) if masks else np.ones(share.size, dtype=np.bool_)
    nearest = float(share[before].min()) if before.any() else 0.0
    masks.append(
        (
            share <= filters.max_stretch,
            f"none is within a stretch of {filters.max_stretch:.1%}, the nearest of them needs {nearest:.1%}; "
            "allow more stretch",
        )
    )
    masks.append(
        (
            np.abs(semitones) <= filters.max_transpose,
            f"all need more than {filters.max_transpose} semitones of transposing; allow more",
        )
    )
    if filters.exclude:
        left = np.ones(len(table), dtype=np.bool_)
        for name in filters.exclude:
            # The ids are in order, and making an array of them would take longer than all the rest.
            place = bisect_left(table.ids, name)
            if place < len(table) and table.ids[place] == name:
                left[place] = False
        masks.append((left, "all are excluded; exclude fewer"))
    return masks
