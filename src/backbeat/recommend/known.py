"""What is known of a catalogue's tracks and listeners, kept ready between requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import CatalogueError, ModelError
from backbeat.listening.content import Content
from backbeat.listening.history import Events
from backbeat.listening.recommenders import Evidence, Recommender, make, numbered
from backbeat.recommend.beats.rules import plain_label
from backbeat.recommend.factors import coded, factors_of
from backbeat.recommend.items import Item, ItemTable

if TYPE_CHECKING:
    from backbeat.listening.model import ListeningModel
    from backbeat.recommend.catalogue import Catalogue

# Of those that are kept in memory whole.
_MOST_ITEMS = 10_000
_NOTHING = Events.of([], [], [], [])


@dataclass(frozen=True, eq=False)
class Tracks:
    """The tracks that can be recommended, as columns in the order of their ids.

    Parameters
    ----------
    ids
        Sorted.
    rows
        Their places in `table`.
    table
        The catalogue's tracks.
    labels, label_names
        A number of each track's style, and the styles as labels are compared.
    vectors, artists, added_at
        As `Evidence` has them.
    items
        Those that were recommended of late, by row, as the catalogue has them.
    """

    ids: NDArray[np.str_]
    rows: NDArray[np.int64]
    table: ItemTable
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    vectors: NDArray[np.float32]
    artists: NDArray[np.int64]
    added_at: NDArray[np.float64]
    items: dict[int, Item] = field(default_factory=dict)

    def item(self, row: int, catalogue: Catalogue) -> Item:
        """Return an item, read once for as long as the catalogue's items stay as they are."""
        found = self.items.get(row)
        if found is None:
            found = catalogue.get(str(self.ids[row]))
            if len(self.items) >= _MOST_ITEMS:
                self.items.clear()
            self.items[row] = found
        return found


@dataclass(eq=False)
class Known:
    """Tracks, evidence, and the recommenders that were made of it so far."""

    tracks: Tracks
    evidence: Evidence
    made: dict[str, Recommender] = field(default_factory=dict)

    @cached_property
    def listeners(self) -> NDArray[np.int64]:
        """How many listeners played each track, shape (tracks,)."""
        events = self.evidence.events.where(self.evidence.events.weights > 0)
        pairs = np.unique(events.users * self.tracks.ids.size + events.items)
        return np.bincount(pairs % self.tracks.ids.size, minlength=self.tracks.ids.size).astype(np.int64)

    @cached_property
    def _liking(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Who took to each track: users, sorted by track, and where each track begins."""
        events = self.evidence.events.where(self.evidence.events.weights > 0)
        order = np.argsort(events.items, kind="stable")
        return events.users[order], np.searchsorted(events.items[order], np.arange(self.tracks.ids.size + 1))

    def shared(self, one: int, other: int) -> bool:
        """Whether a listener took to both of two tracks."""
        users, begins = self._liking
        first, second = (users[begins[row] : begins[row + 1]] for row in (one, other))
        # Of so few numpy takes longer to begin than this does to end.
        return not set(first.tolist()).isdisjoint(second.tolist())

    def recommender(self, name: str) -> Recommender:
        """Return a recommender, made once for the same evidence; errors as of `recommenders.make`."""
        if name not in self.made:
            self.made[name] = make(name, self.evidence)
        return self.made[name]

    @property
    def content(self) -> Content:
        """How tracks sound, whoever recommends them."""
        found = self.recommender("content")
        if not isinstance(found, Content):
            raise TypeError("the content recommender is not the one that was built in")
        return found


class Keeper:
    """Keeps what is known up to date; for several threads.

    Parameters
    ----------
    catalogue, model
        Of which it is known.
    refresh_s
        What all listeners did is read anew no more often; what the one who asks did is always read.
    clock
        Seconds that only rise.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        model: ListeningModel | None,
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.catalogue, self.model = catalogue, model
        self._refresh_s, self._clock = refresh_s, clock
        self._guard = threading.Lock()
        self._known: Known | None = None
        self._seen = (-1, -1, -1)
        self._read_at = -np.inf

    def known(self) -> Known:
        """Return what is known now.

        Raises
        ------
        CatalogueError
            If there are no tracks.
        ModelError
            If the model was trained on other embeddings than the catalogue has.
        """
        with self.catalogue.still() as state, self._guard:
            now, seen = self._clock(), (state.items, state.factors, state.interactions)
            found = self._known
            if found is None or seen[0] != self._seen[0]:
                found = Known(tracks := self._tracks(), self._evidence(tracks))
            elif seen[1] != self._seen[1] or (seen != self._seen and now - self._read_at >= self._refresh_s):
                found = Known(found.tracks, self._evidence(found.tracks))
                # How tracks sound did not change.
                found.made = {name: one for name, one in (self._known or found).made.items() if name == "content"}
            else:
                return found
            self._known, self._seen, self._read_at = found, seen, now
            return found

    def _tracks(self) -> Tracks:
        table = self.catalogue.table("track")
        if not len(table):
            raise CatalogueError("the catalogue has no tracks; `backbeat catalogue add` takes some in")
        space = self._space()
        ids, vectors = self.catalogue.vectors(space, "track") if space else (table.ids, np.zeros((len(table), 0)))
        names = np.array(ids, dtype=np.str_)
        order = np.argsort(names, kind="stable")
        rows = np.searchsorted(np.array(table.ids, dtype=np.str_), names[order]).astype(np.int64)
        styles, places = np.unique(table.labels[rows], return_inverse=True)
        plain = [plain_label(str(style)) for style in styles]
        label_names = tuple(sorted(set(plain)))
        number = np.array([label_names.index(style) for style in plain], dtype=np.int64)
        return Tracks(
            ids=names[order],
            rows=rows,
            table=table,
            labels=number[places] if rows.size else np.zeros(0, dtype=np.int64),
            label_names=label_names,
            vectors=np.ascontiguousarray(np.asarray(vectors, dtype=np.float32)[order]),
            artists=numbered(table.artists[rows]),
            added_at=table.added_at[rows],
        )

    def _space(self) -> str:
        """Return the space to compare tracks in: the model's, or else that of the genre model with most vectors."""
        spaces = self.catalogue.spaces()
        if self.model is not None:
            if self.model.space not in spaces:
                there = ", ".join(sorted(name for name in spaces if name.startswith("genre:"))) or "none"
                raise ModelError(
                    f"the listening model was trained on embeddings of {self.model.space}, and the catalogue has"
                    f" {there}: `backbeat maintenance reindex --model genre=FOLDER` hears it by the genre model that"
                    " was trained beside it, or train it on this one (`dvc repro`)"
                )
            return self.model.space
        named = sorted((-count, name) for name, count in spaces.items() if name.startswith("genre:"))
        return named[0][1] if named else ""

    def _evidence(self, tracks: Tracks) -> Evidence:
        table = self.catalogue.interactions()
        now = float(table.at[-1]) if len(table) else 0.0
        events = coded(table, tracks.ids) if len(table) else _NOTHING
        bare = Evidence(tracks.vectors, tracks.artists, tracks.added_at, events, now, None, self.model)
        return replace(bare, factors=factors_of(self.catalogue, tuple(tracks.ids.tolist())))
