"""Pairing of found events with true ones, fast enough to be done for every threshold of a grid."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def count_matches(reference_s: NDArray[np.float64], estimate_s: NDArray[np.float64], window_s: float) -> int:
    """Return the size of the largest matching of two sorted lists of times within `window_s`.

    Taking the earliest pair that fits is optimal when all windows are equally wide, so that this equals the bipartite
    matching of mir_eval.
    """
    matched = 0
    i = 0
    j = 0
    while i < reference_s.size and j < estimate_s.size:
        if reference_s[i] < estimate_s[j] - window_s:
            i += 1
        elif reference_s[i] > estimate_s[j] + window_s:
            j += 1
        else:
            matched += 1
            i += 1
            j += 1
    return matched


@njit(cache=True, nogil=True)
def count_matches_above(
    reference_s: NDArray[np.float64],
    candidate_s: NDArray[np.float64],
    strengths: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    window_s: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match the candidates whose strength reaches each threshold.

    Parameters
    ----------
    reference_s, candidate_s
        Sorted times, seconds.
    strengths
        Shape of `candidate_s`.
    thresholds
        Shape (thresholds,).
    window_s
        Greatest distance of a pair.

    Returns
    -------
    Matched pairs and candidates kept, each of shape (thresholds,).
    """
    matched = np.zeros(thresholds.size, np.int64)
    kept = np.zeros(thresholds.size, np.int64)
    for k in range(thresholds.size):
        chosen = candidate_s[strengths >= thresholds[k]]
        kept[k] = chosen.size
        matched[k] = count_matches(reference_s, chosen, window_s)
    return matched, kept
