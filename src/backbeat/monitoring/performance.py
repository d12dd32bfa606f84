"""How well the models do on what was sent: estimated without labels, and realised where corrections came.

Without labels, a model's confidence is all there is. What it is worth is read off the reference, where the truth is
known: an isotonic regression of right or wrong on confidence (Zadrozny and Elkan, "Transforming classifier scores into
accurate multiclass probability estimates", KDD 2002), and of the beats' F-measure. The mean over traffic is what is to
be expected (Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021). It holds while the
relation of confidence and truth does: where drift was found, models can be sure and wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.statistics import Interval, bootstrap_interval, proportion_interval

if TYPE_CHECKING:
    import pandas as pd

    from backbeat.monitoring.feedback import Correction
    from backbeat.monitoring.reference import Reference
    from backbeat.music import Beats

#: What is estimated: from which measure of a row, by which truth of the reference.
ESTIMATES: dict[str, tuple[str, str]] = {
    "genre_accuracy": ("genre_probability", "genre_right"),
    "beat_f": ("beat_confidence", "beat_f"),
}
#: Fewer tracks with truth than this give no curve.
FEWEST = 30
_RESAMPLES = 400


def estimate(
    rows: pd.DataFrame, reference: Reference, *, confidence: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Return what is to be expected of the answers to `rows`, without labels.

    Parameters
    ----------
    rows
        Of `rows.table_of`.
    reference
        With the truth of its tracks.
    confidence
        Of the intervals: percentiles over draws of the traffic's rows and of the reference's tracks.
    seed
        Of the draws.

    Returns
    -------
    "genre_accuracy" and "beat_f", 0 to 1; NaN, with a count of 0, where the rows lack the measure or the reference
    knows the truth of fewer than `FEWEST` tracks.
    """
    found = {}
    for name, (measure, truth) in ESTIMATES.items():
        known, right = _numbers(reference.table, measure), _numbers(reference.table, truth)
        found[name] = _expected(_numbers(rows, measure), known, right, confidence, seed)
    return found


def realised(corrections: Iterable[Correction], *, confidence: float = 0.95) -> dict[str, Interval]:
    """Return how right answers were, of those that were corrected or confirmed; corrections come oldest first.

    Returns
    -------
    The same names as of `estimate`; NaN, with a count of 0, where nothing was corrected. Who corrects chooses what:
    such answers are seldom like all others.
    """
    scores: dict[str, list[float]] = {"genre": [], "beat": []}
    # Of several corrections of one answer the last is meant.
    for one in {(one.request_id, one.item, one.task): one for one in corrections}.values():
        if (score := score_of(one.task, one.answer.get("answer"), one.truth)) is not None:
            scores[one.task].append(score)
    return {
        "genre_accuracy": proportion_interval(scores["genre"], confidence=confidence),
        "beat_f": bootstrap_interval(scores["beat"], confidence=confidence),
    }


def score_of(task: str, answer: Any, truth: Mapping[str, Any]) -> float | None:
    """Return how right an answer was, 0 to 1; None where there is none any more, or nothing to measure.

    Parameters
    ----------
    answer
        As a row keeps it: a genre, or beats in seconds.
    truth
        As a correction has it (`feedback.Correction`).
    """
    if not answer:
        return None
    if task == "genre":
        return float(answer == truth["label"])
    from backbeat.errors import AnnotationError
    from backbeat.music import Beats

    try:
        found = beat_f(Beats(np.array([time_s for time_s, _ in truth["beats"]])), answer)
    except AnnotationError:
        return None  # rounded, two beats may have become one
    return None if math.isnan(found) else found


def beat_f(truth: Beats, answer: Sequence[float]) -> float:
    """Return the F-measure of answered beats, in seconds; NaN where there is nothing to measure (`beat.score`)."""
    from backbeat.beat.score import score_track
    from backbeat.music import Beats

    return score_track(truth, Beats(np.array(answer, dtype=np.float64)))["beat_f"]


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    import pandas as pd

    if name not in table.columns:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[name]).to_numpy(dtype=np.float64)


def _expected(
    now: NDArray[np.float64], known: NDArray[np.float64], truth: NDArray[np.float64], confidence: float, seed: int
) -> Interval:
    """Return the mean of what `truth`, shape (tracks,), is at the confidences `now`, shape (rows,), by the `known`."""
    if not 0 < confidence < 1:
        raise ConfigError(f"no interval: confidence {confidence}")
    now = now[np.isfinite(now)]
    usable = np.isfinite(known) & np.isfinite(truth)
    known, truth = known[usable], truth[usable]
    if not now.size or known.size < FEWEST:
        return Interval(math.nan, math.nan, math.nan, 0)
    value = float(_curve(known, truth, now).mean())
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(_RESAMPLES):
        tracks = random.integers(0, known.size, known.size)
        drawn.append(_curve(known[tracks], truth[tracks], now[random.integers(0, now.size, now.size)]).mean())
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), int(now.size))


def _curve(known: NDArray[np.float64], truth: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.isotonic import IsotonicRegression

    made: NDArray[np.float64] = IsotonicRegression(out_of_bounds="clip").fit(known, truth).predict(at)
    return made
