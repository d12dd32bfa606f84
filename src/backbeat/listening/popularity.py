"""What many heard of late."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbeat.listening.history import History, fading
from backbeat.listening.recommenders import Evidence

#: After so many days a play counts half.
HALF_LIFE_DAYS = 30.0


class Popularity:
    """The same order for everyone: plays and likes of all, faded by age."""

    def __init__(self, evidence: Evidence) -> None:
        events = evidence.events
        liked = events.weights > 0
        faded = events.weights[liked] * fading(events.at[liked], evidence.now, HALF_LIFE_DAYS)
        counts = np.bincount(events.items[liked], faded, minlength=len(evidence.vectors))
        # Popularity spreads over powers of ten; a blend wants it evenly spread.
        self.scores = np.log1p(counts).astype(np.float32)

    def score(self, history: History) -> NDArray[np.float32]:
        """Return a score an item; nothing of the listener matters."""
        return self.scores
