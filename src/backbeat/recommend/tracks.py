"""The next tracks for a listener, best first, with why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import CatalogueError, ConfigError, UnknownItemError
from backbeat.listening.history import History
from backbeat.listening.hybrid import Hybrid
from backbeat.listening.recommenders import known as known_methods
from backbeat.recommend.beats.rules import plain_label
from backbeat.recommend.diversity import diversified
from backbeat.recommend.factors import rows_of
from backbeat.recommend.interactions import WEIGHTS
from backbeat.recommend.items import Item
from backbeat.recommend.known import Keeper, Known, Tracks
from backbeat.recommend.track_reasons import reason

if TYPE_CHECKING:
    from backbeat.listening.model import ListeningModel
    from backbeat.recommend.catalogue import Catalogue

MOST_ANSWERS = 1000
#: What gives, of some rows, what each recommender adds to their scores.
PartsOf: TypeAlias = Callable[[NDArray[np.int64]], Mapping[str, NDArray[np.float32]]]
#: What all listeners did is read anew at most so often, seconds.
REFRESH_S = 30.0
# A diverse list is chosen from so many times as many.
_POOL = 10
#: A score of others' listening that says something.
_TELLING = 0.01


@dataclass(frozen=True)
class TrackFilters:
    """Which tracks come into question.

    Parameters
    ----------
    labels
        Styles, any of them; empty for all. "Boom Bap" and "boom_bap" are the same.
    tempo_range
        Least and greatest tempo, beats a minute.
    duration_range
        Least and greatest length, seconds.
    exclude
        Identifiers of tracks to leave out.
    heard
        Whether tracks that the listener knows come as well.

    Raises
    ------
    ConfigError
        If one makes no sense.
    """

    labels: tuple[str, ...] = ()
    tempo_range: tuple[float, float] | None = None
    duration_range: tuple[float, float] | None = None
    exclude: tuple[str, ...] = ()
    heard: bool = False

    def __post_init__(self) -> None:
        if not all(plain_label(label) for label in self.labels):
            raise ConfigError("a label is empty: name a style, such as trap")
        for what, given, most in (("tempo", self.tempo_range, 1000.0), ("duration", self.duration_range, math.inf)):
            if given is not None and not (0 < given[0] <= given[1] <= most):
                raise ConfigError(
                    f"a {what} range of {given[0]:g} to {given[1]:g} makes no sense: give the lower first"
                )


@dataclass(frozen=True)
class TrackAnswer:
    """A track for a listener.

    Parameters
    ----------
    item
        The track.
    score
        Higher is better; only scores of one list compare.
    method
        Who recommends it: a name of `backbeat.listening.recommenders.known`.
    reason
        Why, in a sentence.
    parts
        What each recommender adds to the score.
    """

    item: Item
    score: float
    method: str
    reason: str
    parts: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "item": self.item.to_dict(),
            "score": self.score,
            "method": self.method,
            "reason": self.reason,
            "parts": dict(self.parts),
        }


class TrackRecommender:
    """Recommends tracks of a catalogue; for several threads.

    Parameters
    ----------
    catalogue
        Tracks, and what listeners did.
    model
        The towers and the blend; without one "auto" does with the other recommenders.
    refresh_s
        What all listeners did is read anew no more often; what the one who asks did is always read.
    """

    def __init__(self, catalogue: Catalogue, model: ListeningModel | None = None, refresh_s: float = REFRESH_S) -> None:
        self.catalogue, self.model = catalogue, model
        self._keeper = Keeper(catalogue, model, refresh_s)

    def recommend(
        self,
        *,
        user: str | None = None,
        likes: Sequence[str] = (),
        count: int = 10,
        method: str = "auto",
        filters: TrackFilters | None = None,
        diversity: float = 0.0,
    ) -> tuple[TrackAnswer, ...]:
        """Recommend tracks.

        Parameters
        ----------
        user
            A listener of the catalogue; None for a stranger.
        likes
            Tracks that are liked now, whoever asks: a start for strangers.
        count
            At most so many.
        method
            A recommender's name; "auto" takes the best that what is known allows: the hybrid, or else what others
            heard, what sounds alike, what is popular.
        filters
            Which tracks come into question.
        diversity
            0, the likeliest, to 1, unlike each other (`diversity`).

        Returns
        -------
        tuple
            Best first, ties by id: the same for the same state of the catalogue.

        Raises
        ------
        UnknownItemError
            If there is no such listener or track.
        CatalogueError
            If nothing is known to go by, or no track passes the filters.
        ModelError
            If the method needs a model or factors that are not there.
        ConfigError
            If a number makes no sense, or there is no such method.
        """
        _check(count, method, diversity)
        chosen = filters or TrackFilters()
        with self.catalogue.still():
            known = self._keeper.known()
            history = self._history(known, user, likes)
            allowed = _allowed(known.tracks, chosen, history)
            asked = self._method(known, history) if method == "auto" else method
            scores, parts_of = _scored(known, history, asked)
            if method == "auto" and asked == "collaborative" and not _tells(scores[allowed]):
                # Too few have listened for others to say anything.
                asked = "content"
                scores, parts_of = _scored(known, history, asked)
            method = asked
            rows = _best(known, scores, allowed, count, diversity)
            if not rows.size:
                raise CatalogueError(_nothing(method, history))
            return tuple(self._answers(known, history, method, rows, scores, parts_of))

    def _history(self, known: Known, user: str | None, likes: Sequence[str]) -> History:
        """Return what the listener did, and on top of it what he or she likes now."""
        ids, now = known.tracks.ids, known.evidence.now
        liked, there = rows_of(ids, np.array(likes, dtype=np.str_))
        if not there.all():
            missing = str(likes[int(np.argmin(there))])
            if self.catalogue.has(missing):
                if (kind := self.catalogue.get(missing).kind) != "track":
                    raise CatalogueError(f"{missing}: is a {kind}, not a track; name tracks that are liked")
                hint = "`backbeat maintenance reindex` hears tracks whose audio is there"
                raise CatalogueError(f"{missing}: how it sounds is not known: {hint}")
            raise UnknownItemError(f"there is no track {missing[:140]!r} in the catalogue")
        items, at, weights = np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.float32)
        if user is not None:
            table = self.catalogue.interactions(user=user)
            if not len(table):
                raise UnknownItemError(f"there is no listener {user[:140]!r} in the catalogue")
            items, heard = rows_of(ids, table.items)
            at, weights = table.at[heard], table.weight[heard].astype(np.float32)
            now = max(now, float(table.at[-1]))
        return History(
            np.concatenate([items, liked]),
            np.concatenate([at, np.full(liked.size, now)]),
            np.concatenate([weights, np.full(liked.size, WEIGHTS["like"], dtype=np.float32)]),
            now,
        )

    def _method(self, known: Known, history: History) -> str:
        """Return the best recommender that what is known allows."""
        if not (history.weights > 0).any():
            return "popularity"
        if self.model is not None:
            return "hybrid"
        if known.evidence.factors is not None:
            liked = history.items[history.weights > 0]
            if known.evidence.factors.als.known[liked].any():
                return "collaborative"
        return "content" if known.tracks.vectors.shape[1] else "popularity"

    def _answers(
        self,
        known: Known,
        history: History,
        method: str,
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
        parts_of: PartsOf,
    ) -> Iterator[TrackAnswer]:
        def item_of(row: int) -> Item:
            return known.tracks.item(row, self.catalogue)

        def name_of(row: int) -> str:
            return item_of(row).title or item_of(row).id

        parts = parts_of(rows)
        for place, row in enumerate(rows.tolist()):
            told = {name: round(float(part[place]), 5) for name, part in parts.items()}
            why = reason(known, history, row, told, name_of)
            yield TrackAnswer(item_of(row), round(float(scores[row]), 5), method, why, told)


def _tells(scores: NDArray[np.float32]) -> bool:
    """Whether any score is more than nothing."""
    return bool(np.nanmax(scores, initial=0.0) > _TELLING)


def _check(count: int, method: str, diversity: float) -> None:
    if not 1 <= count <= MOST_ANSWERS:
        raise ConfigError(f"{count} tracks make no sense: ask for 1 to {MOST_ANSWERS}")
    if method not in ("auto", *known_methods()):
        raise ConfigError(f"there is no method {method!r}; there are auto, {', '.join(known_methods())}")
    if not 0 <= diversity <= 1:
        raise ConfigError(f"a diversity of {diversity:g} makes no sense: 0 to 1")


def _scored(known: Known, history: History, method: str) -> tuple[NDArray[np.float32], PartsOf]:
    """Return every track's score, NaN where there is none, and what tells what the scores of some are made of."""
    recommender = known.recommender(method)
    if isinstance(recommender, Hybrid):
        return recommender.blended(history)
    scores = np.asarray(recommender.score(history), dtype=np.float32)
    if scores.shape != known.tracks.ids.shape:
        raise ConfigError(
            f"recommender {method!r} gave scores of shape {scores.shape}: there must be one for each of"
            f" {known.tracks.ids.size} tracks"
        )
    if method == "popularity":
        # What nobody played is not popular.
        scores = np.where(scores > 0, scores, np.nan).astype(np.float32)
    return scores, lambda rows: {method: scores[rows]}


def _allowed(tracks: Tracks, filters: TrackFilters, history: History) -> NDArray[np.bool_]:
    """Return which tracks pass, shape (tracks,); CatalogueError, naming the filter, where none does."""
    allowed = np.ones(tracks.ids.size, dtype=np.bool_)
    if not filters.heard:
        allowed[history.items] = False
    left_out, _ = rows_of(tracks.ids, np.array(filters.exclude, dtype=np.str_))
    allowed[left_out] = False
    if not allowed.any():
        raise CatalogueError("no track is left: all are excluded or known to the listener")
    for mask, hint in _masks(tracks, filters):
        allowed &= mask
        if not allowed.any():
            raise CatalogueError(f"no track fits: {hint}")
    return allowed


def _masks(tracks: Tracks, filters: TrackFilters) -> Iterator[tuple[NDArray[np.bool_], str]]:
    if filters.labels:
        wanted = {plain_label(label) for label in filters.labels}
        numbers = [number for number, name in enumerate(tracks.label_names) if name in wanted]
        some = ", ".join(name for name in tracks.label_names[:12] if name)
        yield np.isin(tracks.labels, numbers), f"none has the style {', '.join(sorted(wanted))}; there are {some}"
    for what, given, values in (
        ("tempo", filters.tempo_range, tracks.table.tempo_bpm),
        ("length", filters.duration_range, tracks.table.duration_s),
    ):
        if given is not None:
            column = values[tracks.rows]
            # NaN, which is not known, lies in no range.
            yield (column >= given[0]) & (column <= given[1]), f"none has a {what} of {given[0]:g} to {given[1]:g}"


def _best(
    known: Known, scores: NDArray[np.float32], allowed: NDArray[np.bool_], count: int, diversity: float
) -> NDArray[np.int64]:
    """Return the rows of the tracks to recommend, best first, ties by id."""
    candidates = np.flatnonzero(allowed & np.isfinite(scores))
    most = count if diversity == 0 else min(_POOL * count, MOST_ANSWERS)
    if candidates.size > most:
        values = scores[candidates]
        least = np.partition(values, candidates.size - most)[candidates.size - most]
        candidates = candidates[values >= least]
    best = candidates[np.argsort(-scores[candidates], kind="stable")][:most]
    if diversity == 0 or not best.size:
        return best
    return best[diversified(scores[best], known.content.vectors[best], count, diversity)]


def _nothing(method: str, history: History) -> str:
    if method == "popularity":
        return "nothing is known of what is heard here: name tracks that are liked, or take in interactions"
    if not (history.weights > 0).any():
        return f"nothing that this listener likes is known, which {method} goes by: name likes, or use popularity"
    return f"{method} has no track to recommend: what was liked is too new; use content"
