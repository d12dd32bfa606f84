"""How good a list of recommendations is: whether what the listener took to next stands at its top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.listening.history import History

#: Length of the lists that are judged.
CUT = 10


@dataclass(frozen=True, eq=False)
class Held:
    """The truth of a listener: what was kept back.

    Parameters
    ----------
    user
        His or her row.
    history
        What is known at the moment of asking.
    items
        Rows of the items that were then heard for the first time and not skipped.
    candidates
        Rows of the items that could be recommended: what is out and was not heard.
    """

    user: int
    history: History
    items: NDArray[np.int64]
    candidates: NDArray[np.int64]


def ranked(
    scores: NDArray[np.float32], candidates: NDArray[np.int64], otherwise: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return candidates best first; those without a score (NaN) come last, by what else is given, and then by row."""
    told = np.where(np.isfinite(scores[candidates]), scores[candidates], -np.inf)
    return candidates[np.lexsort((candidates, -otherwise[candidates], -told))]


def score_user(order: NDArray[np.int64], held: NDArray[np.int64], cut: int = CUT) -> dict[str, float]:
    """Score one listener's list.

    Parameters
    ----------
    order
        Rows of items, best first.
    held
        Rows of those that were heard next, at least one of them.
    cut
        How many at the top count.

    Returns
    -------
    ``ndcg_10``: gains of 1, discounted by the logarithm of the place, against the best order there is (Järvelin and
    Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002). ``recall_10``: the share of
    what was held that stands among the first ten. ``reciprocal_rank``: one over the place of the first.
    """
    hits = np.isin(order, held)
    discounts = 1 / np.log2(np.arange(2, cut + 2))
    gain = float(hits[:cut] @ discounts[: hits[:cut].size])
    places = np.flatnonzero(hits)
    return {
        f"ndcg_{cut}": gain / float(discounts[: min(cut, held.size)].sum()),
        f"recall_{cut}": float(hits[:cut].sum() / held.size),
        "reciprocal_rank": 1 / (int(places[0]) + 1) if places.size else 0.0,
    }


def chance_row(held: int, candidates: int, cut: int = CUT) -> dict[str, float]:
    """Return what a list in an order of chance scores in the mean, of so many held among so many candidates."""
    share = held / candidates
    discounts = 1 / np.log2(np.arange(2, cut + 2))
    reached = min(cut, candidates)
    return {
        f"ndcg_{cut}": share * float(discounts[:reached].sum() / discounts[: min(cut, held)].sum()),
        f"recall_{cut}": reached / candidates,
    }
