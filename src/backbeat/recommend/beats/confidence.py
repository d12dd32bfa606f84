"""How sure an answer is: a probability that can be checked against what happened.

The question that it answers is asked of one pair at a time, so that it does not depend on what else a catalogue holds:
of as many takes and beats that belong together as of ones that do not, how many with such a score belong together? That
is Platt's scaling ("Probabilistic Outputs for Support Vector Machines", 1999) with both sides weighing the same, on
pairs that the weights of the score were not fitted on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def calibrate(scores: NDArray[np.float64], together: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset of the logistic function that turns scores into probabilities.

    Parameters
    ----------
    scores
        Shape (pairs,).
    together
        Shape (pairs,), whether take and beat belong together; both happen.
    """
    from sklearn.linear_model import LogisticRegression

    # Weak regularisation: two numbers from hundreds of pairs need none, but separable scores would have no end.
    model = LogisticRegression(C=100.0, class_weight="balanced").fit(scores[:, None], together)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def calibration_error(confidence: NDArray[np.float64], together: NDArray[np.bool_], bins: int = 10) -> float:
    """Return the mean gap between confidence and truth over bins, with both sides weighing the same.

    Parameters
    ----------
    confidence
        Shape (pairs,), 0 to 1.
    together
        Shape (pairs,), whether they belong together; both happen.
    bins
        Equally wide.
    """
    weight = np.where(together, 0.5 / together.sum(), 0.5 / (~together).sum())
    bin_of = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(bin_of, weight * (confidence - together), minlength=bins)
    return float(np.abs(gaps).sum())
