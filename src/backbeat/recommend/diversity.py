"""Lists that do not say the same ten times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def diversified(
    scores: NDArray[np.float32], vectors: NDArray[np.float32], count: int, diversity: float
) -> NDArray[np.int64]:
    """Choose items that are wanted and unlike each other, by maximal marginal relevance.

    Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
    summaries", SIGIR 1998, with lambda for 1 - `diversity`.

    Parameters
    ----------
    scores
        Of the items to choose from, best first, shape (items,); they are brought to 0..1.
    vectors
        Of length 1, shape (items, values): their inner product says how alike two items are.
    count
        How many to choose.
    diversity
        0 keeps the order of the scores; 1 goes by unlikeness alone, after the first.

    Returns
    -------
    ndarray
        Places of the chosen among the items, in the order of choice.
    """
    span = float(scores.max() - scores.min()) if scores.size else 0.0
    wanted = (scores - scores.min()) / span if span > 0 else np.zeros_like(scores)
    chosen: list[int] = []
    likeness = np.zeros(scores.size, dtype=np.float32)
    left = np.ones(scores.size, dtype=np.bool_)
    for _ in range(min(count, scores.size)):
        value = (1 - diversity) * wanted - (diversity * likeness if chosen else 0.0)
        best = int(np.argmax(np.where(left, value, -np.inf))) if chosen else 0
        chosen.append(best)
        left[best] = False
        likeness = vectors @ vectors[best] if len(chosen) == 1 else np.maximum(likeness, vectors @ vectors[best])
    return np.array(chosen, dtype=np.int64)
