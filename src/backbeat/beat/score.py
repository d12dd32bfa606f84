"""How well beats, bars and tempo were found.

Measures are those of mir_eval with its defaults: beats before 5 s are left out, beats match within 70 ms (Davies,
Degara and Plumbley, "Evaluation methods for musical audio beat tracking algorithms", 2009). Tempo follows Gouyon et
al., "An experimental comparison of audio tempo induction algorithms", IEEE TASLP 14(5), 2006.

Where there is nothing to measure, a measure is NaN and is to be left out of means: beats when neither side has any
after the first 5 s, downbeats, meter and tempo when the reference does not know them. Where only one side is empty, it
is 0; continuity is 0 also when either side has a single beat, since no interval can be right.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backbeat.beat.meter import estimate_tempo_bpm
from backbeat.music import Beats

#: Beats before this are not scored, seconds.
TRIM_S = 5.0
#: Greatest distance of a found beat from a true one, seconds.
WINDOW_S = 0.07
#: Greatest share by which a tempo may be off.
TEMPO_TOLERANCE = 0.04
#: The multiples of the true tempo that the lenient measure takes.
TEMPO_MULTIPLES = (1 / 3, 1 / 2, 1.0, 2.0, 3.0)


def score_track(
    reference: Beats,
    estimate: Beats,
    *,
    reference_tempo_bpm: float | None = None,
    estimated_tempo_bpm: float | None = None,
) -> dict[str, float]:
    """Compare the beats found in one track with the true ones.

    Parameters
    ----------
    reference, estimate
        True and found beats; positions may be None on either side.
    reference_tempo_bpm, estimated_tempo_bpm
        Tempi to compare; when left out, those of the beats themselves.

    Returns
    -------
    ``beat_f``, ``beat_precision``, ``beat_recall``; ``cmlc``, ``cmlt``, ``amlc``, ``amlt`` (continuity at the correct,
    at any metrical level); ``downbeat_f``; ``position_accuracy`` (share of matched beats at the right position in the
    bar); ``meter_correct`` (0 or 1: beats a bar); ``tempo_acc1`` (0 or 1: within 4 %), ``tempo_acc2`` (the same, also
    at half, double, a third or three times the tempo); and counts ``beat_tp``, ``beat_fp``, ``beat_fn``,
    ``downbeat_tp``, ``downbeat_fp``, ``downbeat_fn``.
    """
    scores = _event_scores("beat", reference.times_s, estimate.times_s)
    scores |= _continuity(_trimmed(reference.times_s), _trimmed(estimate.times_s))
    nothing = np.empty(0)
    known = reference.positions is not None
    downbeats = _event_scores(
        "downbeat", reference.downbeats_s if known else nothing, estimate.downbeats_s if known else nothing
    )
    scores |= {name: value for name, value in downbeats.items() if not name.endswith(("precision", "recall"))}
    scores["position_accuracy"] = _position_accuracy(reference, estimate)
    true_meter = reference.beats_per_bar
    scores["meter_correct"] = math.nan if true_meter is None else float(estimate.beats_per_bar == true_meter)
    true_bpm = reference_tempo_bpm if reference_tempo_bpm is not None else estimate_tempo_bpm(reference)
    bpm = estimated_tempo_bpm if estimated_tempo_bpm is not None else estimate_tempo_bpm(estimate)
    return scores | score_tempo(true_bpm, bpm)


def score_tempo(reference_bpm: float | None, estimate_bpm: float | None) -> dict[str, float]:
    """Return ``tempo_acc1`` and ``tempo_acc2`` of one track: 0 or 1, NaN when the true tempo is not known."""
    if reference_bpm is None:
        return {"tempo_acc1": math.nan, "tempo_acc2": math.nan}
    if estimate_bpm is None:
        return {"tempo_acc1": 0.0, "tempo_acc2": 0.0}
    near = [
        abs(estimate_bpm - multiple * reference_bpm) <= TEMPO_TOLERANCE * multiple * reference_bpm
        for multiple in TEMPO_MULTIPLES
    ]
    return {"tempo_acc1": float(near[TEMPO_MULTIPLES.index(1.0)]), "tempo_acc2": float(any(near))}


def _trimmed(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return times_s[times_s >= TRIM_S]


def _matches(reference_s: NDArray[np.float64], estimate_s: NDArray[np.float64]) -> list[tuple[int, int]]:
    import mir_eval

    if reference_s.size == 0 or estimate_s.size == 0:
        return []
    pairs: list[tuple[int, int]] = mir_eval.util.match_events(reference_s, estimate_s, WINDOW_S)
    return pairs


def _event_scores(name: str, reference_s: NDArray[np.float64], estimate_s: NDArray[np.float64]) -> dict[str, float]:
    true_s, found_s = _trimmed(reference_s), _trimmed(estimate_s)
    hits = len(_matches(true_s, found_s))
    missing = math.nan if true_s.size == found_s.size == 0 else 0.0
    return {
        f"{name}_f": 2 * hits / (true_s.size + found_s.size) if true_s.size + found_s.size else missing,
        f"{name}_precision": hits / found_s.size if found_s.size else missing,
        f"{name}_recall": hits / true_s.size if true_s.size else missing,
        f"{name}_tp": float(hits),
        f"{name}_fp": float(found_s.size - hits),
        f"{name}_fn": float(true_s.size - hits),
    }


def _continuity(true_s: NDArray[np.float64], found_s: NDArray[np.float64]) -> dict[str, float]:
    names = ("cmlc", "cmlt", "amlc", "amlt")
    if true_s.size == found_s.size == 0:
        return dict.fromkeys(names, math.nan)
    if true_s.size < 2 or found_s.size < 2:  # where mir_eval also says 0, but with a warning
        return dict.fromkeys(names, 0.0)
    import mir_eval

    return dict(zip(names, map(float, mir_eval.beat.continuity(true_s, found_s)), strict=True))


def _position_accuracy(reference: Beats, estimate: Beats) -> float:
    if reference.positions is None:
        return math.nan
    true = reference.times_s >= TRIM_S
    found = estimate.times_s >= TRIM_S
    pairs = _matches(reference.times_s[true], estimate.times_s[found])
    if not pairs:
        return math.nan
    if estimate.positions is None:
        return 0.0
    rows, columns = np.array(pairs).T
    return float(np.mean(reference.positions[true][rows] == estimate.positions[found][columns]))
