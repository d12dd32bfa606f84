"""The beats of a catalogue that fit a take, best first, with how sure that is and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import CatalogueError, ConfigError, ModelError, SilentAudioError
from backbeat.music import Key, TimeSignature
from backbeat.recommend.beats.filtering import BeatFilters, passing
from backbeat.recommend.beats.reasons import Fit, reason
from backbeat.recommend.beats.rules import (
    TRIPLET_SWING,
    BeatColumns,
    TakeFacts,
    columns_of,
    fits,
    plain_label,
)
from backbeat.recommend.beats.scoring import LEARNED, PARTS, Weights, fitted
from backbeat.recommend.items import Item, ItemTable, Kind, key_number

if TYPE_CHECKING:
    from backbeat.analysis.describing import Described
    from backbeat.pairing.model import PairingModel

MOST_ANSWERS = 1000
#: Scores are compared to this many digits, so that what is equal stays so on other machines.
_DIGITS = 4
#: So that what the rules say of them stays in the processor's cache.
_BEATS_AT_ONCE = 16384


class BeatCatalogue(Protocol):
    """What is asked of a catalogue (`backbeat.recommend.catalogue.Catalogue` has it)."""

    def table(self, kind: Kind) -> ItemTable:
        """Return the items of a kind as columns; the same object until something changes."""

    def vectors(self, space: str, kind: Kind) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Return ids and vectors, shape (items, dimensions), of one space; the same objects until something changes."""

    def get(self, id: str) -> Item:
        """Return one item."""


@dataclass(frozen=True)
class BeatAnswer:
    """A beat for a take.

    Parameters
    ----------
    item
        The beat.
    score
        Sum of `parts`; higher is better.
    confidence
        Probability that it belongs with the take, of a pair that does or does not at even odds
        (`backbeat.recommend.beats.confidence`).
    level
        Beats of the beat to one of the take: 2 in double time, 0.5 in half time.
    stretch
        How many times faster the beat has to play: 1.02 is 2 % faster.
    transpose_semitones
        By which it has to be transposed.
    method
        "rules and model", or "rules" where no model could compare the two.
    reason
        A sentence.
    parts
        What each rule and the model add to the score.
    """

    item: Item
    score: float
    confidence: float
    level: float
    stretch: float
    transpose_semitones: int
    method: str
    reason: str
    parts: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "item": self.item.to_dict(),
            "score": self.score,
            "confidence": self.confidence,
            "level": self.level,
            "stretch": self.stretch,
            "transpose_semitones": self.transpose_semitones,
            "method": self.method,
            "reason": self.reason,
            "parts": dict(self.parts),
        }


class BeatSelector:
    """Chooses beats of a catalogue; safe for several threads.

    Parameters
    ----------
    catalogue
        Where the beats are; it may grow meanwhile.
    pairing
        The model whose vectors are compared; None for rules alone.
    weights
        By "rules" and "model"; None for those that ship.
    """

    def __init__(
        self,
        catalogue: BeatCatalogue,
        pairing: PairingModel | None = None,
        weights: Mapping[str, Weights] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._space = None if pairing is None else pairing.space
        self._weights = fitted() if weights is None else weights
        self._columns: BeatColumns | None = None
        self._aligned: tuple[ItemTable, NDArray[np.float32], NDArray[np.float32]] | None = None

    def select(
        self, query: Described | Item, *, count: int = 5, filters: BeatFilters | None = None
    ) -> tuple[BeatAnswer, ...]:
        """Return the beats that fit best, of equal ones the first by id.

        Parameters
        ----------
        query
            A take that was described, or an item of a catalogue; of an item no model hears what beat it wants, so
            that rules choose alone.
        count
            Of answers; there may be fewer beats.
        filters
            None for `BeatFilters` as they are.

        Raises
        ------
        CatalogueError
            If there are no beats, or none passes the filters.
        SilentAudioError
            If there is nothing to hear in the take.
        ConfigError
            If `count` makes no sense.
        """
        if not 1 <= count <= MOST_ANSWERS:
            raise ConfigError(f"{count} answers make no sense: 1 to {MOST_ANSWERS}")
        filters = BeatFilters() if filters is None else filters
        if isinstance(query, Item):
            filters = replace(filters, exclude=(*filters.exclude, query.id))
        beats = self._beats()
        take = facts_of(query, beats)
        similarity = self._similarity(query, beats.table)
        weights = self._weights_for("rules" if similarity is None else "model")
        scores, stretch, semitones = _judged(take, beats, similarity, weights)
        best = _best(scores, passing(filters, beats, stretch, semitones), count)
        return self._answers(query, take, beats.of(best), best, scores[best], similarity, weights)

    def _weights_for(self, way: str) -> Weights:
        if way not in self._weights:
            raise ModelError(f"there are no weights of beat selection for {way!r}: fit them with benchmarks/beats.py")
        return self._weights[way]

    def _beats(self) -> BeatColumns:
        table = self._catalogue.table("beat")
        if len(table) == 0:
            raise CatalogueError(
                "there are no beats in the catalogue: `backbeat catalogue starter` makes some, "
                "`backbeat catalogue add` takes yours"
            )
        columns = self._columns
        if columns is None or columns.table is not table:
            columns = columns_of(table)
            self._columns = columns
        return columns

    def _similarity(self, query: Described | Item, table: ItemTable) -> NDArray[np.float32] | None:
        """Return the learned similarity of each beat, NaN for beats without a vector; None where there is none."""
        if self._space is None or isinstance(query, Item) or query.take_vector is None:
            return None
        ids, matrix = self._catalogue.vectors(self._space, "beat")
        if len(ids) == 0:
            return None
        # Held here: another thread may align others meanwhile.
        aligned = self._aligned
        if aligned is None or aligned[0] is not table or aligned[1] is not matrix:
            aligned = (table, matrix, _in_order(table.ids, ids, matrix))
            self._aligned = aligned
        found: NDArray[np.float32] = aligned[2] @ query.take_vector.astype(np.float32)
        return found

    def _answers(
        self,
        query: Described | Item,
        take: TakeFacts,
        beats: BeatColumns,
        places: NDArray[np.int64],
        scores: NDArray[np.float64],
        similarity: NDArray[np.float32] | None,
        weights: Weights,
    ) -> tuple[BeatAnswer, ...]:
        """Put what is told of the chosen beats together; `places` are theirs in the table and in `similarity`."""
        rules = fits(take, beats)
        parts = weights.parts(rules, None if similarity is None else similarity[places])
        confidence = weights.confidence(scores)
        answers = []
        for rank, place in enumerate(places.tolist()):
            item = self._catalogue.get(beats.table.ids[place])
            near = None
            if similarity is not None and np.isfinite(similarity[place]):
                near = (float(similarity[place]), np.count_nonzero(similarity < similarity[place]) / similarity.size)
            fit = Fit(
                level=float(rules.level[rank]),
                stretch=round(float(rules.stretch[rank]), 5),
                semitones=int(rules.semitones[rank]),
                likely=take.styles.get(plain_label(item.label)),
                similarity=near,
            )
            named = {name: round(float(part), 4) for name, part in zip(PARTS, parts[:, rank], strict=True)}
            if near is None:
                named.pop(LEARNED)
            answers.append(
                BeatAnswer(
                    item=item,
                    score=float(scores[rank]),
                    confidence=round(float(confidence[rank]), 4),
                    level=fit.level,
                    stretch=fit.stretch,
                    transpose_semitones=fit.semitones,
                    method="rules" if near is None else "rules and model",
                    reason=reason(query.descriptors, item.descriptors, item.label, fit),
                    parts=named,
                )
            )
        return tuple(answers)


def facts_of(query: Described | Item, beats: BeatColumns) -> TakeFacts:
    """Return what the rules ask of a take; SilentAudioError where there is nothing to hear in it."""
    told = query.descriptors
    if told.quality.silence_share >= 1:
        name = query.path if isinstance(query, Item) else query.analysis.path
        raise SilentAudioError(name, "is silent: no beat fits what cannot be heard")
    if isinstance(query, Item):
        own = plain_label(query.label)
        styles = {label: float(label == own) for label in beats.labels} if own else {}
    else:
        styles = {plain_label(name): share for name, share in query.analysis.genre.probabilities.items()}
    signature = None if told.time_signature is None else TimeSignature.parse(told.time_signature)
    swings = told.swing is not None and told.swing >= TRIPLET_SWING
    return TakeFacts(
        tempo_bpm=told.tempo_bpm,
        key=key_number(None if told.key is None else Key(told.key.tonic, told.key.mode)),
        key_confidence=0.0 if told.key is None else told.key.confidence,
        energy=told.energy,
        pulse_clarity=told.pulse_clarity,
        beats_per_bar=0 if signature is None else signature.numerator,
        triplets=swings or (signature is not None and signature.is_compound),
        styles=styles,
    )


def _judged(
    take: TakeFacts, beats: BeatColumns, similarity: NDArray[np.float32] | None, weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.int64]]:
    """Return score, stretch and semitones of every beat, shape (beats,) each."""
    count = len(beats)
    scores, stretch = np.empty(count), np.empty(count, np.float32)
    semitones = np.empty(count, np.int64)
    for first in range(0, count, _BEATS_AT_ONCE):
        rows = slice(first, first + _BEATS_AT_ONCE)
        rules = fits(take, beats.of(rows))
        scores[rows] = weights.scores(rules, None if similarity is None else similarity[rows])
        stretch[rows], semitones[rows] = rules.stretch, rules.semitones
    return np.round(scores, _DIGITS), stretch, semitones


def _best(scores: NDArray[np.float64], allowed: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Return the places of the highest scores that are allowed, the highest first; the table is in the order of ids."""
    left = np.where(allowed, scores, -np.inf)
    count = min(count, int(np.count_nonzero(allowed)))
    least = np.partition(left, left.size - count)[left.size - count]
    candidates = np.flatnonzero(left >= least)
    best: NDArray[np.int64] = candidates[np.argsort(-left[candidates], kind="stable")][:count]
    return best


def _in_order(ids: tuple[str, ...], given: tuple[str, ...], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors in the order of `ids`; rows of NaN for those that have none."""
    if ids == given:
        return matrix
    place = {name: row for row, name in enumerate(given)}
    rows = np.array([place.get(name, -1) for name in ids])
    ordered: NDArray[np.float32] = matrix[rows]
    ordered[rows < 0] = np.nan
    return ordered
