"""What sounds like what a listener liked, or is by whom he or she liked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from backbeat.listening.history import History
from backbeat.listening.recommenders import Evidence

HALF_LIFE_DAYS = 60.0
#: So many of the items that a listener liked best are gathered to so many interests.
MOST_ITEMS, MOST_INTERESTS = 100, 4
# What being disliked takes away, and what each doubling or so of the plays of its artist adds, against a cosine.
_DISLIKE, _ARTIST = 0.3, 0.3


class Content:
    """Nearness of embeddings to a listener's interests, and liking of the artist.

    What was liked falls into groups of like sound (Ward's method), and an item scores by the group that is nearest: the
    mean of all would lie between jazz and metal where neither is. After Pal et al., "PinnerSage: multi-modal user
    embedding framework for recommendations at Pinterest", KDD 2020, sections 3.2 and 3.3, with means for medoids.
    """

    def __init__(self, evidence: Evidence) -> None:
        import torch

        self.vectors, self.artists = evened(evidence.vectors), evidence.artists
        # Of a few rows and columns that lie together torch makes the product in half of numpy's time.
        self._columns = torch.from_numpy(np.ascontiguousarray(self.vectors.T))

    def score(self, history: History) -> NDArray[np.float32]:
        """Return the cosine to the nearest interest, favoured by its share, and the artist's; NaN without likes."""
        import torch

        items, strengths = history.strengths(HALF_LIFE_DAYS)
        liked = strengths > 0
        if not liked.any():
            return np.full(len(self.vectors), np.nan, dtype=np.float32)
        centres, shares = self.interests(items[liked], strengths[liked])
        against = (-strengths[~liked]).astype(np.float32) @ self.vectors[items[~liked]]
        near = (torch.from_numpy(np.concatenate([centres, _unit(against[None])])) @ self._columns).numpy()
        scores = (near[:-1] + 0.1 * np.log(shares)[:, None]).max(axis=0) - _DISLIKE * near[-1]
        return np.asarray(scores + _ARTIST * self.liking(items, strengths), dtype=np.float32)

    def liking(self, items: NDArray[np.int64], strengths: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return how much each item's artist is liked, on a scale of logarithms; 0 for those not heard; (items,)."""
        if not self.artists.size or self.artists.max() < 0:
            return np.zeros(len(self.artists), dtype=np.float32)
        # The last place is that of artists who are not known.
        summed = np.bincount(self.artists[items] % (self.artists.max() + 2), strengths, self.artists.max() + 2)
        summed[-1] = 0
        return np.log1p(np.maximum(summed, 0)).astype(np.float32)[self.artists]

    def interests(
        self, items: NDArray[np.int64], strengths: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return centres, shape (interests, values), and the share of the strength in each."""
        best = np.sort(np.argsort(-strengths, kind="stable")[:MOST_ITEMS])
        vectors, weights = self.vectors[items[best]], strengths[best].astype(np.float32)
        groups = np.zeros(best.size, dtype=np.int64)
        if best.size > 1:
            groups = fcluster(linkage(vectors, "ward"), MOST_INTERESTS, "maxclust").astype(np.int64) - 1
        members = np.equal.outer(np.arange(groups.max() + 1), groups) * weights
        shares = members.sum(axis=1)
        return _unit(members @ vectors), (shares / shares.sum()).astype(np.float32)


def evened(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of length 1 whose values all count alike: centred and scaled over the items first."""
    spread = vectors.std(axis=0) if len(vectors) else np.ones(vectors.shape[1], dtype=np.float32)
    # A value that never changes tells nothing.
    scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)
    return _unit(((vectors - vectors.mean(axis=0)) * scale).astype(np.float32)) if len(vectors) else vectors


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)
