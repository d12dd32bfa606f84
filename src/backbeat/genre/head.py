"""A user's own genres from few recordings: a linear head on what a trained network hears and on timbre.

The network stays as it is; the head is multinomial logistic regression on the mean embedding and the timbre statistics
of a track, which is what forty recordings can teach. Transfer by a linear head on a frozen network is as in Choi,
Fazekas, Sandler and Cho, "Transfer learning for music classification and regression tasks" (ISMIR 2017).

A head has an answer for anything, and knows only what it was shown. So it remembers the measures of its tracks, and
calls unfamiliar what lies farther from the nearest than they do from each other (Ramaswamy, Rastogi and Shim,
"Efficient algorithms for mining outliers from large data sets", SIGMOD 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backbeat.errors import CorpusError
from backbeat.genre.classifier import GenreClassifier, distances, nearness
from backbeat.genre.network import GenreNetwork
from backbeat.genre.task import fit_temperature
from backbeat.model import ModelSpec

#: Inverse strength of the L2 penalty, on standardised measures. Between 0.01 and 1 it hardly matters.
INVERSE_PENALTY = 0.02

#: Share of the tracks learnt from that would be called familiar by the others.
FAMILIAR = 0.95

#: At most so many tracks are remembered; above that, a random choice.
REMEMBERED = 512

#: Parts into which tracks are divided so that each is judged by a head that was not shown it.
FOLDS = 5


@dataclass(frozen=True, eq=False)
class OwnGenres:
    """A classifier of the user's genres, and how it would have done.

    Parameters
    ----------
    classifier
        Its specification has the classes, the network and the decoding; the rest is that of the model it began with.
    probabilities
        Of each track by a head that was fitted without it and its group, shape (tracks, classes).
    """

    classifier: GenreClassifier
    probabilities: NDArray[np.float64]


def heard(start: GenreClassifier, spectrograms: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Give each track's mean embedding and timbre, shape (tracks, embedding + TIMBRE_SIZE)."""
    return np.stack([start.measures(log_mel) for log_mel in spectrograms]).astype(np.float64)


def fit_own_genres(
    start: GenreClassifier,
    measures: NDArray[np.float64],
    genres: Sequence[str],
    groups: Sequence[str],
    seed: int,
) -> OwnGenres:
    """Fit a head to tracks.

    Parameters
    ----------
    start
        A genre model of any classes, whose network listens.
    measures
        As `heard` gives them.
    genres, groups
        Of each track; tracks of one group (a song, a performer) are never judged by a head that knows the group.
    seed
        Of the division.

    Raises
    ------
    CorpusError
        If there are fewer than two genres, or one of them has only one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = sorted(set(genres))
    if len(classes) < 2:
        raise CorpusError(f"a genre model needs two genres, not {len(classes)}")
    grouped = {name: {group for group, genre in zip(groups, genres, strict=True) if genre == name} for name in classes}
    fewest = min(classes, key=lambda name: len(grouped[name]))
    if len(grouped[fewest]) < 2:
        raise CorpusError(f"genre {fewest!r} has one recording or source only; two are needed to learn it and to check")
    truth = np.array([classes.index(name) for name in genres])
    logits = np.zeros((len(genres), len(classes)))
    folds = StratifiedGroupKFold(min(FOLDS, len(grouped[fewest])), shuffle=True, random_state=seed)
    for known, unknown in folds.split(measures, truth, list(groups)):
        weights, bias = _linear(measures[known], truth[known], len(classes))
        logits[unknown] = measures[unknown] @ weights.T + bias
    temperature = fit_temperature(logits, truth)
    weights, bias = _linear(measures, truth, len(classes))
    scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    # Spreads of few tracks are uncertain: half of each variance is that of music in general.
    general = start.network.scale.numpy().astype(np.float64)
    variance = 0.5 * measures.var(axis=0) + 0.5 / np.maximum(general, 1e-6) ** 2
    scale = np.where(general > 0, 1 / np.sqrt(variance), 0.0)
    chosen = np.random.default_rng(seed).permutation(len(genres))[:REMEMBERED]
    far = distances(measures[chosen], measures[chosen], scale)
    named = np.array(list(groups))[chosen]
    far[named[:, None] == named[None, :]] = np.inf  # parts of one song say nothing of how far another would be
    within = float(np.quantile(nearness(far), FAMILIAR))
    remembered = {"scale": scale, "references": measures[chosen]}
    fitted = {"head.weight": weights, "head.bias": bias, **remembered}
    classifier = _with_head(start, tuple(classes), fitted, temperature, within if np.isfinite(within) else None)
    return OwnGenres(classifier, scaled / scaled.sum(axis=1, keepdims=True))


def _linear(
    measures: NDArray[np.float64], truth: NDArray[np.integer[Any]], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit logistic regression on standardised measures; return weights and bias that take them as they are."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = measures.mean(axis=0), measures.std(axis=0)
    # What never changes, such as a unit of the network that is silent, says nothing.
    inverse = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)
    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=5000).fit((measures - mean) * inverse, truth)
    # A class that these tracks lack is never the answer.
    weights, bias = np.zeros((classes, measures.shape[1])), np.full(classes, -30.0)
    rows = fitted.coef_
    offsets = fitted.intercept_
    if len(fitted.classes_) == 2:
        rows, offsets = np.concatenate([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    weights[fitted.classes_] = rows * inverse
    bias[fitted.classes_] = offsets - weights[fitted.classes_] @ mean
    return weights, bias


def _with_head(
    start: GenreClassifier,
    classes: tuple[str, ...],
    fitted: dict[str, NDArray[np.float64]],
    temperature: float,
    familiar_within: float | None,
) -> GenreClassifier:
    settings = {**start.spec.network, "timbre": True, "references": len(fitted["references"])}
    network = GenreNetwork(start.spec.features.mel_bands, len(classes), **settings)
    state = start.network.state_dict()
    state |= {name: torch.from_numpy(values.astype(np.float32)) for name, values in fitted.items()}
    network.load_state_dict(state)
    network.eval()
    decoding = {**start.spec.decoding, "temperature": temperature, "familiar_within": familiar_within}
    spec: ModelSpec = replace(start.spec, network=settings, classes=classes, decoding=decoding)
    return GenreClassifier(network, spec)
