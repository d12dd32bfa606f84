"""All recommenders together: a blend of their scores whose weights are learnt on what listeners did next.

The weights depend on how much a listener has been heard of and how much an item has been played: what others heard
says nothing of a track that nobody heard. They are fitted by a conditional logit (McFadden 1974), the loss of ListNet's
top-one case (Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007): the chosen items
against all others at once. It is convex, so that there is one answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ModelError
from backbeat.listening.history import DAY_S, Events, History, fading
from backbeat.listening.recommenders import FITTED, SINGLE, Evidence, make

# Beyond so many plays or events there is no more to know.
_MANY = 200
_CONTEXTS = ("alone", "history", "played", "unplayed")
_ADDED = ("unplayed", "unplayed_history", "fresh", "fresh_history", "rising", "rising_history")
# A release is half as fresh after so many days, and a play says half as much of what rises just now.
_FRESH_DAYS, _RISING_DAYS = 14.0, 7.0
# Weight of the squared coefficients, against the mean loss of a listener.
_RIDGE = 0.03
_MOST_CANDIDATES = 2000
_MANY_ITEMS = 20_000


@dataclass(frozen=True, eq=False)
class Blend:
    """What each recommender's standardised score counts, by context.

    Parameters
    ----------
    weights
        Shape (recommenders of `SINGLE`, contexts): alone; times how long the history is, 0 to 1; times how much the
        item is played, 0 to 1; for items that nobody played.
    added
        What is added whatever the recommenders say, shape (6,): for items that nobody played, alone and times how long
        the history is; for how fresh an item is, likewise; for how much it is played just now, likewise.
    """

    weights: NDArray[np.float64]
    added: NDArray[np.float64]

    @classmethod
    def level(cls) -> Blend:
        """Return one that tells no item from another."""
        return cls(np.zeros((len(SINGLE), len(_CONTEXTS))), np.zeros(len(_ADDED)))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        named = {
            name: {context: round(float(value), 5) for context, value in zip(_CONTEXTS, row, strict=True)}
            for name, row in zip(SINGLE, self.weights, strict=True)
        }
        added = {name: round(float(value), 5) for name, value in zip(_ADDED, self.added, strict=True)}
        return {"recommenders": named, "added": added}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Blend:
        """Read what `to_dict` gave; ModelError where something is missing."""
        try:
            rows = [[float(values["recommenders"][name][context]) for context in _CONTEXTS] for name in SINGLE]
            return cls(np.array(rows), np.array([float(values["added"][name]) for name in _ADDED]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the listening model's blend is malformed: {error!r}; train it again") from None

    def mix(self, scores: NDArray[np.float32], items: ItemContext, history: float) -> NDArray[np.float32]:
        """Blend standardised scores.

        Parameters
        ----------
        scores
            Shape (recommenders, items).
        items
            What is known of them.
        history
            How long the listener's is, 0 to 1.

        Returns
        -------
        ndarray
            Shape (items,).
        """
        always, played, unplayed = self._by_item(history) @ scores
        total = always + played * items.played + unplayed * items.unplayed
        for pair, kind in zip(self.added.reshape(-1, 2), items.added, strict=True):
            total += np.float32(pair[0] + pair[1] * history) * kind
        return np.asarray(total, dtype=np.float32)

    def parts(self, scores: NDArray[np.float32], items: ItemContext, history: float) -> NDArray[np.float32]:
        """Return what each recommender adds to what `mix` gives for the same arguments, as `scores` are."""
        contexts = np.stack([np.ones_like(items.played), items.played, items.unplayed])
        return np.asarray(scores * (self._by_item(history).T @ contexts), dtype=np.float32)

    def _by_item(self, history: float) -> NDArray[np.float32]:
        """Return weights, alone, by how much an item is played, and for those that nobody did; (3, recommenders)."""
        alone = self.weights[:, 0] + self.weights[:, 1] * history
        return np.stack([alone, self.weights[:, 2], self.weights[:, 3]]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ItemContext:
    """What the weights of a blend depend on, of each item; shape (items,).

    Parameters
    ----------
    played
        How much it is played, 0 to 1 (`amount`).
    unplayed
        1 where nobody did, else 0.
    fresh
        1 for what just came out, halved every fortnight.
    rising
        How much it was played of late, half for each week ago; standardised logarithms.
    """

    played: NDArray[np.float32]
    unplayed: NDArray[np.float32]
    fresh: NDArray[np.float32]
    rising: NDArray[np.float32]

    @classmethod
    def of_evidence(cls, evidence: Evidence) -> ItemContext:
        """Take it from what is known."""
        played = counted(evidence.events, len(evidence.vectors))
        # What comes out later is as fresh as what just did.
        out = np.minimum(evidence.added_at, evidence.now)
        fresh = np.exp2((out - evidence.now) / (_FRESH_DAYS * DAY_S))
        events = evidence.events.where(evidence.events.weights > 0)
        late = np.bincount(events.items, fading(events.at, evidence.now, _RISING_DAYS), minlength=played.size)
        rising = standardised(np.log1p(late).astype(np.float32))
        return cls(played, (played == 0).astype(np.float32), fresh.astype(np.float32), rising)

    @property
    def added(self) -> tuple[NDArray[np.float32], ...]:
        """What adds to a score by itself, in the order of a blend's weights."""
        return self.unplayed, self.fresh, self.rising

    def of(self, rows: NDArray[np.int64]) -> ItemContext:
        """Return that of some items."""
        return ItemContext(self.played[rows], self.unplayed[rows], self.fresh[rows], self.rising[rows])


@dataclass(frozen=True, eq=False)
class Choice:
    """What a listener chose: scores of all items that could have been, and which were.

    Parameters
    ----------
    scores
        Standardised, shape (recommenders, items).
    items
        What is known of them.
    history
        How long the listener's is, 0 to 1.
    chosen
        Rows of items, at least one.
    """

    scores: NDArray[np.float32]
    items: ItemContext
    history: float
    chosen: NDArray[np.int64]


def amount(counts: NDArray[np.floating] | float) -> NDArray[np.float32]:
    """Return counts on a scale from 0 (none) to 1 (many), by their logarithm."""
    return np.asarray(np.minimum(np.log1p(counts) / np.log1p(_MANY), 1), dtype=np.float32)


def standardised(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores centred and scaled over the items that have one; 0 where there is none."""
    known = np.isfinite(scores)
    count = np.count_nonzero(known)
    if not count:
        return np.zeros_like(scores)
    if count == scores.size:
        centred = scores - scores.sum() / np.float32(count)
    else:
        filled = np.where(known, scores, np.float32(0))
        centred = (filled - filled.sum() / np.float32(count)) * known
    spread = float(np.sqrt(centred @ centred / count))
    return np.asarray(centred * np.float32(1 / spread) if spread > 1e-6 else np.zeros_like(centred), dtype=np.float32)


def fit_blend(choices: Sequence[Choice], seed: int) -> Blend:
    """Fit the weights to what listeners chose; each listener counts alike, whatever he or she listens to.

    Of large catalogues only so many items are compared with, drawn by `seed`.

    Raises
    ------
    ModelError
        If nobody chose anything.
    """
    from scipy.optimize import minimize

    if not choices:
        raise ModelError("no listener of the validation period chose anything new, so no blend can be learnt")
    rng = np.random.default_rng(seed)
    prepared = [_features(choice, rng) for choice in choices]
    size = prepared[0][0].shape[1]

    def loss(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, gradient = 0.0, np.zeros(size)
        for features, chosen in prepared:
            logits = features @ coefficients.astype(np.float32)
            logits -= logits.max()
            shares = np.exp(logits)
            summed = shares.sum()
            total += float(np.log(summed) - logits[chosen].mean())
            gradient += (shares / summed) @ features - features[chosen].mean(axis=0)
        count = len(prepared)
        ridge = _RIDGE * coefficients
        return total / count + float(ridge @ coefficients) / 2, gradient / count + ridge

    found = minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    weights, added = np.split(found.x, [-len(_ADDED)])
    return Blend(weights.reshape(len(SINGLE), len(_CONTEXTS)), added)


def _features(choice: Choice, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return what coefficients multiply, shape (candidates, coefficients), and the rows that were chosen."""
    others = np.setdiff1d(np.arange(choice.items.played.size), choice.chosen)
    if others.size > _MOST_CANDIDATES:
        others = rng.choice(others, _MOST_CANDIDATES, replace=False)
    rows = np.concatenate([choice.chosen, others])
    scores, items, history = choice.scores[:, rows].T, choice.items.of(rows), np.float32(choice.history)
    alone = np.ones_like(items.played)
    context = np.stack([alone, alone * history, items.played, items.unplayed], axis=1)
    crossed = (scores[:, :, None] * context[:, None, :]).reshape(len(rows), -1)
    added = np.stack([one for kind in items.added for one in (kind, kind * history)], axis=1)
    return np.concatenate([crossed, added], axis=1).astype(np.float32), np.arange(choice.chosen.size)


def counted(events: Events, items: int) -> NDArray[np.float32]:
    """Return how much each item is played, 0 to 1, shape (items,)."""
    return amount(np.bincount(events.items[events.weights > 0], minlength=items).astype(np.float64))


@cache
def _beside(process: int) -> ThreadPoolExecutor:
    """Return threads of this process: those of one that it was forked from are not there."""
    del process
    return ThreadPoolExecutor(2, thread_name_prefix="recommenders")


class Hybrid:
    """Scores by the blend of a trained model.

    Raises
    ------
    ModelError
        If there is none.
    """

    def __init__(self, evidence: Evidence) -> None:
        if evidence.model is None:
            raise ModelError("no listening model: `dvc repro` trains one to models/listening; name its folder")
        self.blend = evidence.model.blend
        self.items = ItemContext.of_evidence(evidence)
        # Without factors nobody's listening is known, and the blend does without.
        self.single = {
            name: make(name, evidence) for name in SINGLE if not (name in FITTED and evidence.factors is None)
        }

    def score(self, history: History) -> NDArray[np.float32]:
        """Return the blend of all scores."""
        return self.blended(history)[0]

    def blended(
        self, history: History
    ) -> tuple[NDArray[np.float32], Callable[[NDArray[np.int64]], dict[str, NDArray[np.float32]]]]:
        """Return the blend, and what tells of some rows what each recommender adds to it."""

        def scored(name: str) -> NDArray[np.float32]:
            if name not in self.single:
                return np.zeros(self.items.played.size, dtype=np.float32)
            return standardised(self.single[name].score(history))

        # Of many items most of the time goes into reading what is known of them, which two cores do side by side.
        many = self.items.played.size >= _MANY_ITEMS
        scores = np.stack(list((_beside(os.getpid()).map if many else map)(scored, SINGLE)))
        length = float(amount(float(len(history))))

        def parts(rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
            return dict(zip(SINGLE, self.blend.parts(scores[:, rows], self.items.of(rows), length), strict=True))

        return self.blend.mix(scores, self.items, length), parts
