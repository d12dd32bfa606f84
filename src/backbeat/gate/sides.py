"""The two sides at work: scored on the same tracks, and timed in turns."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from backbeat.beat.score import score_track as score_beats
from backbeat.beat.tracker import BeatTracker
from backbeat.errors import ConfigError, ModelError
from backbeat.evaluation.scoring import Example, Model, Truth, genre_row, score
from backbeat.features import FeatureParams
from backbeat.gate.decision import TestSet
from backbeat.genre.classifier import GenreClassifier
from backbeat.listening.model import ListeningModel
from backbeat.listening.trial import Listener
from backbeat.music import Beats, Onsets
from backbeat.onset.score import score_track as score_onsets
from backbeat.pairing.model import PairingModel
from backbeat.pairing.score import Partner, chance_row

Spectrogram = NDArray[np.float32]
#: A track and its spectrogram.
Heard = tuple[Example, Spectrogram]
_DIGITS = 9


class Side(Protocol):
    """What is compared: a model, or what stands in for one."""

    @property
    def name(self) -> str:
        """How it is called."""
        ...

    def row(self, example: Example, spectrogram: Spectrogram) -> dict[str, Any]:
        """Score a track."""
        ...


@dataclass(frozen=True, eq=False)
class Contender:
    """A model that takes part."""

    model: Model

    @property
    def name(self) -> str:
        """Its name and version."""
        return f"{self.model.spec.name} {self.model.spec.version}"

    def row(self, example: Example, spectrogram: Spectrogram) -> dict[str, Any]:
        """Score a track; a genre that the model does not know is answered wrongly."""
        if isinstance(self.model, GenreClassifier):
            shares = self.model.classify(spectrogram).probabilities
            if not all(math.isfinite(share) for share in shares.values()):
                raise ModelError(f"gives no probabilities on track {example.corpus}/{example.id}")
            return {**genre_row(str(example.truth), shares), "confidence": max(shares.values())}
        rows = score(self.model, [replace(example, log_mel=lambda: spectrogram)])
        return {str(name): value for name, value in rows.iloc[0].items()}

    def hear(self, example: Example, spectrogram: Spectrogram) -> object:
        """Hear a track, from its spectrogram to the answer."""
        if isinstance(self.model, ListeningModel):
            return self.row(example, spectrogram)
        if isinstance(self.model, PairingModel):
            return self.model.embed_take(spectrogram)
        if isinstance(self.model, BeatTracker):
            return self.model.track(spectrogram)
        if isinstance(self.model, GenreClassifier):
            return self.model.classify(spectrogram)
        return self.model.detect(spectrogram)


@dataclass(frozen=True)
class Deaf:
    """What a first model is held against: answers without hearing.

    Beats and kicks twice a second, the commonest genre, any of the beats, and what most listeners know.
    """

    commonest: str
    params: FeatureParams
    name: str = "answers without hearing"

    @classmethod
    def of(cls, examples: Sequence[Example], params: FeatureParams) -> Deaf:
        """Know what is commonest among the truths."""
        counts = Counter(str(example.truth) for example in examples if isinstance(example.truth, str))
        return cls(min(counts, key=lambda name: (-counts[name], name)) if counts else "", params)

    def row(self, example: Example, spectrogram: Spectrogram) -> dict[str, Any]:
        """Score a track."""
        times_s = np.arange(0.25, len(spectrogram) / self.params.frame_rate_hz, 0.5)
        if isinstance(example.truth, Beats):
            return score_beats(example.truth, Beats(times_s, np.arange(times_s.size) % 4 + 1))
        if isinstance(example.truth, Onsets):
            kicks = Onsets(times_s, ["kick"] * times_s.size)
            return score_onsets(example.truth, kicks, kicks)
        if isinstance(example.truth, Partner):
            return dict(chance_row(example.truth))
        if isinstance(example.truth, Listener):
            return dict(example.truth.popular_row())
        right = float(example.truth == self.commonest)
        return {"answer": self.commonest, "correct": right, "confidence": 1.0}


def usable(model: Model) -> None:
    """Refuse weights that are no numbers; ModelError names them."""
    for name, value in model.network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"its weights hold NaN or infinity ({name})")


def score_sides(
    sides: tuple[Side, Side], examples: Iterable[Example], timed: Collection[int]
) -> tuple[tuple[pd.DataFrame, pd.DataFrame], list[bytes], list[Heard]]:
    """Score every track by both sides.

    Parameters
    ----------
    sides
        What is compared.
    examples
        Read once each.
    timed
        Places of the tracks that are wanted with their spectrograms.

    Returns
    -------
    A table a side with a row a track, in order; each track's digest; the tracks that are wanted.

    Raises
    ------
    ModelError
        If a side fails on a track, named.
    """
    rows: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    digests: list[bytes] = []
    wanted: list[Heard] = []
    for place, example in enumerate(examples):
        spectrogram = example.log_mel()
        digests.append(digest(example, spectrogram))
        if place in timed:
            wanted.append((example, spectrogram))
        for side, gathered in zip(sides, rows, strict=True):
            try:
                gathered.append(side.row(example, spectrogram))
            except Exception as error:  # whatever a damaged network or decoder raises
                raise ModelError(f"{side.name} fails on track {example.corpus}/{example.id}: {error}") from error
    return (pd.DataFrame(rows[0]), pd.DataFrame(rows[1])), digests, wanted


def paired_scores(
    champion: pd.DataFrame, challenger: pd.DataFrame, measure: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one measure of both sides, shape (tracks,) each; NaN where neither had anything to find.

    Where one side rightly found nothing and the other found something, the first is right, not missing: dropping the
    track would hide false alarms.

    Raises
    ------
    ConfigError
        If there is no such measure.
    """
    if measure not in champion or measure not in challenger:
        raise ConfigError(f"gate: there is no measure {measure!r}; there are {', '.join(sorted(map(str, challenger)))}")
    first, second = (table[measure].to_numpy(dtype=np.float64).copy() for table in (champion, challenger))
    lone = np.isnan(first) ^ np.isnan(second)
    first[lone & np.isnan(first)] = 1.0
    second[lone & np.isnan(second)] = 1.0
    return first, second


def digest(example: Example, spectrogram: Spectrogram) -> bytes:
    """Return a hash of a track's id, truth and features."""
    made = hashlib.sha256(f"{example.corpus}\0{example.id}\0{example.style}\0".encode())
    made.update(_truth(example.truth))
    made.update(f"\0{spectrogram.shape}\0".encode())
    made.update(np.ascontiguousarray(spectrogram, dtype=np.float32).tobytes())
    return made.digest()


def _truth(truth: Truth) -> bytes:
    if isinstance(truth, Beats):
        return truth.times_s.round(_DIGITS).tobytes() + (b"" if truth.positions is None else truth.positions.tobytes())
    if isinstance(truth, Onsets):
        velocities = np.asarray(truth.velocities, dtype=np.float64).round(_DIGITS).tobytes()
        return truth.times_s.round(_DIGITS).tobytes() + ",".join(truth.classes).encode() + velocities
    return truth.encode() if isinstance(truth, str) else truth.digest


def name_sets(examples: Sequence[Example], digests: Sequence[bytes], sources: Sequence[str]) -> tuple[TestSet, ...]:
    """Name the frozen sets by corpus; the order of their tracks does not matter."""
    sets = []
    for corpus in sorted({example.corpus for example in examples}):
        places = [place for place, example in enumerate(examples) if example.corpus == corpus]
        whole = hashlib.sha256(b"".join(sorted(digests[place] for place in places))).hexdigest()
        sets.append(TestSet(corpus, len(places), len({sources[place] for place in places}), whole))
    return tuple(sets)


def time_in_turns(
    champion: Contender,
    challenger: Contender,
    tracks: Sequence[Heard],
    rounds: int,
    timer: Callable[[], float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shortest time that each side takes for each track, seconds, shape (tracks,) each.

    They take turns on every track, each first every other time, so that whatever else the machine does hits both.
    """
    pair = (champion, challenger)
    for side in pair:
        side.hear(*tracks[0])
    shortest = np.full((2, len(tracks)), np.inf)
    for turn in range(rounds):
        for place, track in enumerate(tracks):
            for number in (0, 1) if (turn + place) % 2 else (1, 0):
                begun = timer()
                pair[number].hear(*track)
                shortest[number, place] = min(shortest[number, place], timer() - begun)
    return shortest[0], shortest[1]
