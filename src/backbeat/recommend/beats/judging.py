"""How well takes find their own beats, by the rules, by the pairing model and by both: for measuring and fitting.

A recording is described once (`Ear`); a collection of takes that look for their beats among the same ones is a
`Question`; each way of answering gives each beat a score, and `table_of_ways` measures what comes of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbeat.analysis.analyzer import Analyzer
from backbeat.analysis.describing import Describer
from backbeat.analysis.hearing import hear
from backbeat.corpus.contract import read_corpus
from backbeat.features import LogMel
from backbeat.files import sha256_file, write_json
from backbeat.pairing.model import PairingModel
from backbeat.pairing.score import Candidates, Partner, chance_row, score_similarities
from backbeat.recommend.beats.fitting import Choice, fit
from backbeat.recommend.beats.rules import columns_of, fits
from backbeat.recommend.beats.scoring import PARTS, Weights
from backbeat.recommend.beats.selecting import facts_of
from backbeat.recommend.items import Item, row_of, table_of

#: Ways to choose, from none to all.
WAYS = ("chance", "tempo and key", "rules", "model", "rules and model")
TEMPO_AND_KEY = ("tempo", "stretch", "level", "key", "transposition")


@dataclass(frozen=True)
class Told:
    """What was described of a recording: as an item, the genre's probabilities, and vectors as a take and as a beat."""

    item: Item
    genre: Mapping[str, float]
    take: NDArray[np.float32]
    beat: NDArray[np.float32]


#: Describes a file under a name, with a label or, where that is empty, the genre that is heard.
Hears = Callable[[Path, str, str], Told]


@dataclass(frozen=True)
class Question:
    """Takes that each look for their own beat among the same ones, all by name."""

    name: str
    takes: tuple[Told, ...]
    beats: tuple[Told, ...]
    truths: tuple[int, ...]


class Ear:
    """Describes recordings.

    Parameters
    ----------
    analyzer, pairing
        The models that listen; without a pairing model the vectors are empty.
    cache
        A folder that keeps what was described for the next time; None for none.
    """

    def __init__(self, analyzer: Analyzer, pairing: PairingModel | None, cache: Path | None = None) -> None:
        self._pairing, self._cache = pairing, cache
        self._describer = Describer(analyzer, fingerprints=False)

    def __call__(self, path: Path, name: str, label: str = "") -> Told:
        """Describe a file; an empty label is the genre that is heard, as it is in a catalogue."""
        digest = sha256_file(path)
        values = self._kept(digest, lambda: self._values(path))
        item = Item.from_dict({**values["item"], "id": name, "label": label or values["heard"]})
        take, beat = np.zeros((2, 0), np.float32)
        if (model := self._pairing) is not None:
            space = model.space.replace(":", "-")
            vectors = self._kept(f"{digest}-{space}", lambda: _vectors(path, model))
            take, beat = (np.array(vectors[side], dtype=np.float32) for side in ("take", "beat"))
        return Told(item, values["genre"], take, beat)

    def _kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return values that were kept under a name, or make and keep them."""
        if self._cache is None:
            return make()
        path = self._cache / f"{name}.json"
        if not path.exists():
            write_json(path, make())
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def _values(self, path: Path) -> dict[str, Any]:
        told = self._describer.describe(path)
        item = Item("x", "beat", "", "", "", "", told.sha256, told.analysis.duration_s, "", "", 0.0, told.descriptors)
        genre = told.analysis.genre
        return {"item": item.to_dict(), "heard": genre.label, "genre": genre.probabilities}


def _vectors(path: Path, model: PairingModel) -> dict[str, Any]:
    log_mel = hear(path, LogMel(model.spec.features)).spectrogram
    return {"take": model.embed_take(log_mel).tolist(), "beat": model.embed_beat(log_mel).tolist()}


def rendered(folder: Path, split: str, ear: Hears, *, labelled: bool = True) -> list[Question]:
    """Return the questions of a corpus of pairs: for each kind of parts, its takes and their beats.

    Beats have the styles that the corpus tells, as a labelled catalogue has them, or those that are heard.
    """
    corpus = read_corpus(folder)
    tracks = {track.id: track for track in corpus.tracks}
    by_parts: dict[str, list[Any]] = {}
    for pair in corpus.pairs():
        if tracks[pair.take].split == split:
            by_parts.setdefault(pair.parts, []).append(pair)
    questions = []
    for parts, pairs in sorted(by_parts.items()):
        takes = tuple(ear(folder / tracks[pair.take].path, pair.take, "") for pair in pairs)
        beats = tuple(
            ear(folder / tracks[pair.beat].path, pair.beat, tracks[pair.beat].genre if labelled else "")
            for pair in pairs
        )
        questions.append(Question(f"rendered, {parts}", takes, beats, tuple(range(len(pairs)))))
    return questions


def choices(question: Question, with_model: bool) -> Iterator[Choice]:
    """Put a question to the rules and the model."""
    rows = [
        {"id": beat.item.id, "label": beat.item.label, "artist": "", **row_of(beat.item)} for beat in question.beats
    ]
    table = table_of(rows)
    columns = columns_of(table)
    place = {name: row for row, name in enumerate(table.ids)}
    order = np.argsort([place[beat.item.id] for beat in question.beats])
    matrix = np.stack([question.beats[row].beat for row in order])
    for take, truth in zip(question.takes, question.truths, strict=True):
        genre = SimpleNamespace(probabilities=take.genre)
        told: Any = SimpleNamespace(descriptors=take.item.descriptors, analysis=SimpleNamespace(path="", genre=genre))
        similarity = matrix @ take.take if with_model else None
        yield Choice(fits(facts_of(told, columns), columns), similarity, place[question.beats[truth].item.id])


def scores(choice: Choice, way: str, weights: Mapping[str, Weights]) -> NDArray[np.float64]:
    """Return the score of each beat by one way, shape (beats,)."""
    if way == "model":
        return np.asarray(choice.similarity, dtype=np.float64)
    if way == "rules and model":
        return weights["model"].scores(choice.rules, choice.similarity).astype(np.float64)
    parts = weights["rules"].parts(choice.rules)
    wanted = [PARTS.index(name) for name in TEMPO_AND_KEY] if way == "tempo and key" else slice(None)
    return np.asarray(parts[wanted].sum(axis=0, dtype=np.float64))


def fitted_on(questions: Sequence[Question], origin: Mapping[str, Any], with_model: bool) -> dict[str, Weights]:
    """Fit the weights for rules alone, and with the model where there is one."""
    asked = [choice for question in questions for choice in choices(question, with_model)]
    found = {"rules": fit(asked, origin, with_model=False)}
    if with_model:
        found["model"] = fit(asked, origin, with_model=True)
    return found


def table_of_ways(question: Question, weights: Mapping[str, Weights], ways: Sequence[str]) -> pd.DataFrame:
    """Let takes look for their beats in several ways.

    Parameters
    ----------
    question
        Who looks among what.
    weights
        "rules", and "model" where a way needs it.
    ways
        Of `WAYS`.

    Returns
    -------
    A row a take and way: ``take``, ``way``, and the measures of `pairing.score`.
    """
    asked = list(choices(question, "model" in ways))
    everything = Candidates(tuple(beat.item.id for beat in question.beats), ())
    rows: list[dict[str, Any]] = []
    for way in ways:
        for take, one in zip(question.takes, asked, strict=True):
            found = (
                chance_row(Partner(everything, one.truth))
                if way == "chance"
                else score_similarities(one.truth, scores(one, way, weights))
            )
            rows.append({"take": take.item.id, "way": way, **found})
    return pd.DataFrame(rows)
