"""How well onsets and drum hits were found.

Events match within 50 ms, each at most once, as in mir_eval.onset. Where neither side has any of a class its measures
are NaN and are to be left out of means; where one side has none they are 0. Counts (``_tp``, ``_fp``, ``_fn``) are
always given: summed over tracks they make the F-measure of a whole corpus (micro), in which a class that strikes twice
in a track does not weigh as much as one that strikes two hundred times.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backbeat.music import DRUMS, Onsets
from backbeat.onset.decode import ANY, merged_times_s

#: Greatest distance of a found event from a true one, seconds.
WINDOW_S = 0.05
#: Onsets of several instruments nearer than this are one onset, seconds.
COMBINE_S = 0.03
#: Strokes of one class nearer than this (two crash cymbals at once) are one stroke, seconds.
SAME_STROKE_S = 0.005
#: Classes that are also scored together.
GROUPS: dict[str, tuple[str, ...]] = {
    "hihat": ("hihat_closed", "hihat_open", "hihat_pedal"),
    "toms": ("tom_high", "tom_mid", "tom_low"),
    "cymbals": ("crash", "ride"),
}


def score_track(reference: Onsets, onsets: Onsets | None, drums: Onsets | None) -> dict[str, float]:
    """Compare what was found in one track with the truth.

    Parameters
    ----------
    reference
        True onsets, drums and notes.
    onsets
        Found onsets of any kind, or None when they are not to be scored.
    drums
        Found drum hits, or None when they are not to be scored.

    Returns
    -------
    For "onset" (all of the reference against `onsets`), each drum, each of `GROUPS`, and "drums" (all ten classes, each
    hit right only in its own class): ``X_f``, ``X_precision``, ``X_recall``, ``X_tp``, ``X_fp``, ``X_fn``; also
    ``drums_macro_f``, the mean of the ten classes' F that are not NaN, and ``velocity_mae``, the mean absolute error of
    velocity over hits that match in their class (NaN when there are none).
    """
    scores: dict[str, float] = {}
    if onsets is not None:
        true_s = merged_times_s(reference.times_s, COMBINE_S)
        scores |= event_scores(ANY, true_s, merged_times_s(onsets.times_s, COMBINE_S))
    if drums is None:
        return scores
    errors: list[NDArray[np.float64]] = []
    for name in DRUMS:
        true, found = _single(reference.of(name)), _single(drums.of(name))
        pairs = _matches(true.times_s, found.times_s)
        scores |= _measures(name, len(pairs), len(true), len(found))
        if pairs:
            rows, columns = np.array(pairs).T
            errors.append(np.abs(true.velocities[rows] - found.velocities[columns]))
    for group, names in GROUPS.items():
        true_s, found_s = _single(reference.of(*names)).times_s, _single(drums.of(*names)).times_s
        scores |= event_scores(group, true_s, found_s)
    tp, fp, fn = (sum(int(scores[f"{name}_{count}"]) for name in DRUMS) for count in ("tp", "fp", "fn"))
    scores |= _measures("drums", tp, tp + fn, tp + fp)
    each = [scores[f"{name}_f"] for name in DRUMS if not math.isnan(scores[f"{name}_f"])]
    scores["drums_macro_f"] = float(np.mean(each)) if each else math.nan
    scores["velocity_mae"] = float(np.mean(np.concatenate(errors))) if errors else math.nan
    return scores


def event_scores(name: str, reference_s: NDArray[np.float64], estimate_s: NDArray[np.float64]) -> dict[str, float]:
    """Return the six measures of two sorted lists of times (seconds), each named `name` and what it is."""
    return _measures(name, len(_matches(reference_s, estimate_s)), reference_s.size, estimate_s.size)


def _measures(name: str, hits: int, true: int, found: int) -> dict[str, float]:
    missing = math.nan if true == found == 0 else 0.0
    return {
        f"{name}_f": 2 * hits / (true + found) if true + found else missing,
        f"{name}_precision": hits / found if found else missing,
        f"{name}_recall": hits / true if true else missing,
        f"{name}_tp": float(hits),
        f"{name}_fp": float(found - hits),
        f"{name}_fn": float(true - hits),
    }


def _matches(reference_s: NDArray[np.float64], estimate_s: NDArray[np.float64]) -> list[tuple[int, int]]:
    if reference_s.size == 0 or estimate_s.size == 0:
        return []
    import mir_eval

    pairs: list[tuple[int, int]] = mir_eval.util.match_events(reference_s, estimate_s, WINDOW_S)
    return pairs


def _single(onsets: Onsets) -> Onsets:
    """Let strokes at one instant be one, as hard as the hardest of them."""
    times_s = merged_times_s(onsets.times_s, SAME_STROKE_S)
    if times_s.size == len(onsets):
        return onsets
    starts = np.searchsorted(onsets.times_s, times_s)
    return Onsets(times_s, (), np.maximum.reduceat(onsets.velocities, starts))
