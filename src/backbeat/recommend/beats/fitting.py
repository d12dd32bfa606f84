"""The weights of beat selection, fitted on takes whose own beat is known.

A conditional logit (McFadden, "Conditional logit analysis of qualitative choice behavior", 1974): the probability of a
beat among its rivals is the softmax of their scores, and the weights are those that make the true partners likeliest.
No weight may be negative: a rule that speaks for a beat is never turned against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.recommend.beats.confidence import calibrate
from backbeat.recommend.beats.rules import RuleFits
from backbeat.recommend.beats.scoring import LEARNED, PARTS, Weights, evidence, weighed

FOLDS = 5
#: Standard deviation of weights before any take was seen: a rule that tells all pairs apart gets a finite one.
PRIOR = 5.0


@dataclass(frozen=True, eq=False)
class Choice:
    """A take, the beats it could have, and its own among them.

    Parameters
    ----------
    rules
        Of all the beats.
    similarity
        Shape (beats,), learned; None without a model.
    truth
        Place of its own beat.
    """

    rules: RuleFits
    similarity: NDArray[np.float32] | None
    truth: int


def fit(choices: Sequence[Choice], origin: Mapping[str, Any], *, with_model: bool, seed: int = 0) -> Weights:
    """Fit weights on all choices, and calibrate on scores that each fold got from weights of the others.

    Parameters
    ----------
    choices
        One a take, each with two beats or more.
    origin
        What is told of the data.
    with_model
        Whether the learned similarity is used.
    seed
        Of the folds.

    Raises
    ------
    ConfigError
        If there are fewer choices than folds.
    """
    if len(choices) < FOLDS:
        raise ConfigError(f"{len(choices)} takes are too few to fit weights on: {FOLDS} at least")
    tables = [evidence(choice.rules, choice.similarity if with_model else None) for choice in choices]
    truths = [choice.truth for choice in choices]
    fold = np.random.default_rng(seed).permutation(len(choices)) % FOLDS
    scores, together = [], []
    for held in range(FOLDS):
        kept = np.flatnonzero(fold != held)
        centres, weights = _fit([tables[place] for place in kept], [truths[place] for place in kept])
        for place in np.flatnonzero(fold == held):
            score = weights @ weighed(*tables[place], centres)
            scores.append(score)
            together.append(np.arange(score.size) == truths[place])
    slope, offset = calibrate(np.concatenate(scores), np.concatenate(together))
    centres, weights = _fit(tables, truths)
    if not with_model:
        weights[PARTS.index(LEARNED)] = 0.0
    return Weights(
        dict(zip(PARTS, np.round(weights, 4).tolist(), strict=True)),
        dict(zip(PARTS, np.round(centres[:, 0].astype(np.float64), 4).tolist(), strict=True)),
        round(slope, 4),
        round(offset, 4),
        {**origin, "takes": len(choices), "seed": seed},
    )


def _fit(
    tables: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], truths: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return centres, shape (parts, 1), and weights, shape (parts,)."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    sums, trusts = np.zeros(len(PARTS)), np.full(len(PARTS), 1e-9)
    for (values, trust), truth in zip(tables, truths, strict=True):
        others = np.arange(values.shape[1]) != truth
        sums += (values * trust)[:, others].sum(axis=1)
        trusts += trust[:, others].sum(axis=1)
    centres = (sums / trusts)[:, None].astype(np.float32)
    features = [weighed(values, trust, centres) for values, trust in tables]
    penalty = 0.5 / (PRIOR**2 * len(features))

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = penalty * float(weights @ weights), 2 * penalty * weights
        for table, truth in zip(features, truths, strict=True):
            scores = weights @ table
            total = logsumexp(scores)
            value += float(total - scores[truth]) / len(features)
            gradient = gradient + (table @ np.exp(scores - total) - table[:, truth]) / len(features)
        return value, gradient

    start = np.ones(len(PARTS))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(PARTS))
    return centres, np.asarray(found.x, dtype=np.float64)
