"""Models asked for every listener of a split, one listener at a time: what the evaluation and the gate go by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from backbeat.listening.evaluation import evidence_before, held_of
from backbeat.listening.history import DAY_S
from backbeat.listening.hybrid import counted
from backbeat.listening.recommenders import Recommender, make
from backbeat.listening.score import Held, ranked, score_user

if TYPE_CHECKING:
    from backbeat.listening.data import Listening
    from backbeat.listening.model import ListeningModel


class Trial:
    """A split of a data set, and what was found out of it for the models that were asked.

    Parameters
    ----------
    listening, split
        The data set, and which of its splits is held.

    Raises
    ------
    CorpusError
        If nobody heard anything new.
    """

    def __init__(self, listening: Listening, split: str) -> None:
        self.listening, self.split = listening, split
        self.listeners = [Listener(self, held) for held in held_of(listening, split)]
        self._hybrids: WeakKeyDictionary[ListeningModel, Recommender] = WeakKeyDictionary()

    @cached_property
    def known(self) -> NDArray[np.float32]:
        """How often each item was heard before the split, shape (items,)."""
        begins, _ = self.listening.span(self.split)
        return counted(self.listening.events.before(begins), len(self.listening.items))

    def hybrid(self, model: ListeningModel) -> Recommender:
        """Return a model's hybrid, which knows what happened before the split; made once for each model."""
        if model not in self._hybrids:
            evidence = evidence_before(self.listening, self.split, model.factors, model)
            self._hybrids[model] = make("hybrid", evidence)
        return self._hybrids[model]


@dataclass(frozen=True, eq=False)
class Listener:
    """The truth about a listener: what was known, and what was kept back."""

    trial: Trial
    held: Held

    @property
    def name(self) -> str:
        """How he or she is called."""
        return self.trial.listening.users[self.held.user]

    @property
    def history(self) -> NDArray[np.float32]:
        """What was known, shape (events, 3): item, days before the moment of asking, weight."""
        known = self.held.history
        days = (known.now - known.at) / DAY_S
        return np.stack([known.items, days, known.weights], axis=1).astype(np.float32)

    @property
    def digest(self) -> bytes:
        """A name for what was kept back, and from among what."""
        return self.held.items.tobytes() + self.held.candidates.tobytes()

    def row(self, model: ListeningModel) -> dict[str, float]:
        """Score a model's hybrid; measures as of `score_user`."""
        return self._scored(self.trial.hybrid(model).score(self.held.history))

    def popular_row(self) -> dict[str, float]:
        """Score a list of what most listeners know."""
        return self._scored(np.full(len(self.trial.listening.items), np.nan, dtype=np.float32))

    def _scored(self, scores: NDArray[np.float32]) -> dict[str, float]:
        return score_user(ranked(scores, self.held.candidates, self.trial.known), self.held.items)
