"""Tempo and time signature of beats that were found or annotated."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.music import Beats, TimeSignature


def estimate_tempo_bpm(beats: Beats) -> float | None:
    """Return the tempo that most of the track keeps, beats a minute; None with fewer than two beats.

    The median over spans of up to eight beats, so that timing beat by beat and swing within the bar cancel.
    """
    if len(beats) < 2:
        return None
    span = max(1, min(8, len(beats) // 3))
    return float(60.0 * span / np.median(beats.times_s[span:] - beats.times_s[:-span]))


def estimate_time_signature(beats: Beats, onsets_s: ArrayLike | None = None) -> TimeSignature | None:
    """Return the meter that most bars have, written as is usual for it.

    The number of beats a bar is heard; the denominator is convention: 2/4, 3/4, 4/4, 5/4, 6/8, 7/8 (and n/4 else).
    Two beats a bar are 6/8 where `onsets_s` fall on thirds of the beat more than on halves.

    Parameters
    ----------
    beats
        With positions.
    onsets_s
        Shape (onsets,), seconds, all onsets heard; may be left out.

    Returns
    -------
    None where bars are not known: no positions, no whole bar, or no length that at least half of the bars have.
    """
    numerator = beats.beats_per_bar
    if numerator is None or beats.positions is None:
        return None
    lengths = np.diff(np.flatnonzero(beats.positions == 1))
    if 2 * np.count_nonzero(lengths == numerator) < lengths.size or numerator > 32:
        return None
    if numerator == 2 and onsets_s is not None and _is_ternary(beats.times_s, np.asarray(onsets_s, dtype=np.float64)):
        return TimeSignature(6, 8)
    return TimeSignature(numerator, 8 if numerator in (6, 7) else 4)


def _is_ternary(beats_s: NDArray[np.float64], onsets_s: NDArray[np.float64]) -> bool:
    phases = np.interp(onsets_s, beats_s, np.arange(beats_s.size), left=0.0, right=0.0) % 1.0
    halves = np.count_nonzero(np.abs(phases - 0.5) < 1 / 15)
    # Only the first third is counted: the second is also where swung halves fall.
    firsts = np.count_nonzero(np.abs(phases - 1 / 3) < 1 / 15)
    return bool(firsts > halves and firsts > 0.1 * beats_s.size)
