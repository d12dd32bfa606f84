"""How well takes find the beat that belongs to them among others.

A take's beat is looked for among 100: itself and 99 of other songs, drawn from the candidates. No draw is made: where
the beat has so many better ones among all candidates, how many of those are among 99 is hypergeometric, and each
measure is its mean over all draws. Where there are fewer than 100 candidates, all of them are taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.pairing.data import by_parts
from backbeat.pairing.model import PairingModel

#: Among how many candidates a beat is looked for.
AMONG = 100
#: How many answers may be given for the beat to count as found.
FOUND = (1, 5)

LogMel = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The beats of a collection of songs, one a song.

    Parameters
    ----------
    names
        Of the beats.
    log_mels
        Ways to their spectrograms, shape (frames, mel_bands).
    """

    names: tuple[str, ...]
    log_mels: tuple[LogMel, ...]
    _vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @cached_property
    def digest(self) -> bytes:
        """A hash of what the beats sound like, in order."""
        made = hashlib.sha256()
        for log_mel in self.log_mels:
            made.update(np.ascontiguousarray(log_mel(), dtype=np.float32).tobytes())
        return made.digest()

    def vectors(self, model: PairingModel) -> NDArray[np.float32]:
        """Return the beats' vectors, (beats, size); made once for each model."""
        if model.space not in self._vectors:
            self._vectors[model.space] = np.stack([model.embed_beat(log_mel()) for log_mel in self.log_mels])
        return self._vectors[model.space]


@dataclass(frozen=True, eq=False)
class Partner:
    """The truth about a take: which of the candidates belongs to it."""

    candidates: Candidates
    place: int

    @property
    def digest(self) -> bytes:
        """A hash of the beats and of which is the right one."""
        return self.candidates.digest + self.place.to_bytes(8, "little")


def partners(tracks: Sequence[LabelledTrack], store: FeatureStore) -> list[Partner]:
    """Give the truth of each track labelled for pairing; candidates are the beats with the same parts among them."""

    def reader(track: LabelledTrack) -> LogMel:
        return lambda: store.get(track.corpus, str(track.values["beat"])).astype(np.float32)

    found: dict[tuple[str, str], Partner] = {}
    for alike in by_parts(tracks).values():
        names = tuple(str(track.values["beat"]) for track in alike)
        candidates = Candidates(names, tuple(reader(track) for track in alike))
        found |= {(track.corpus, track.id): Partner(candidates, place) for place, track in enumerate(alike)}
    return [found[track.corpus, track.id] for track in tracks]


def score_track(truth: Partner, model: PairingModel, log_mel: NDArray[np.floating]) -> dict[str, float]:
    """Score a take by a model; measures as of `score_similarities`."""
    vector = model.embed_take(log_mel)
    return score_similarities(truth.place, truth.candidates.vectors(model) @ vector)


def score_similarities(place: int, similarities: NDArray[np.floating]) -> dict[str, float]:
    """Score a ranking.

    Parameters
    ----------
    place
        Which candidate is the true one.
    similarities
        Shape (candidates,), of the take to each; of those alike, half are taken to come before the true one.

    Returns
    -------
    ``rank`` (1 is best) and ``reciprocal_rank``, ``found_1`` and ``found_5`` (is the beat among so many answers?), all
    among `AMONG` candidates in the mean over draws, and ``candidates``, among how many that was.
    """
    others = np.delete(similarities, place)
    true = similarities[place]
    better = float(np.sum(others > true) + 0.5 * np.sum(others == true))
    return _among(better, others.size)


def chance_row(truth: Partner) -> dict[str, float]:
    """Give the measures of guessing."""
    candidates = min(AMONG, len(truth.candidates.names))
    ranks = np.arange(1, candidates + 1)
    return _measures(ranks, np.full(candidates, 1 / candidates))


def _among(better: float, others: int) -> dict[str, float]:
    """Give the measures where `better` of `others` come before the true one, among as many as are looked at."""
    from scipy.stats import hypergeom

    drawn = min(AMONG - 1, others)
    ranks = np.arange(1, drawn + 2)
    if not others:
        return _measures(ranks, np.ones(1))
    # Between two whole numbers where some are alike.
    low, share = int(better), better - int(better)
    chances = (1 - share) * hypergeom.pmf(ranks - 1, others, low, drawn)
    if share:
        chances += share * hypergeom.pmf(ranks - 1, others, low + 1, drawn)
    return _measures(ranks, chances)


def _measures(ranks: NDArray[np.integer], chances: NDArray[np.floating]) -> dict[str, float]:
    return {
        "rank": float(ranks @ chances),
        "reciprocal_rank": float((1 / ranks) @ chances),
        **{f"found_{count}": float(chances[:count].sum()) for count in FOUND},
        "candidates": float(ranks.size),
    }
