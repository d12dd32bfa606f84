"""The catalogue: tracks and beats, their vectors and fingerprints, and what listeners did with them.

What choosing among many goes by, tables and matrices, is kept in memory; each use asks the database only what has
changed since, by others as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select

from backbeat.errors import CatalogueError, UnknownItemError
from backbeat.recommend.catalogue.database import CatalogueDatabase, State
from backbeat.recommend.catalogue.events import Events
from backbeat.recommend.catalogue.memory import Memory
from backbeat.recommend.catalogue.neighbours import Neighbours
from backbeat.recommend.catalogue.pgvector import stored
from backbeat.recommend.catalogue.recordings import Recordings
from backbeat.recommend.catalogue.rows import (
    AUDIO,
    check_space,
    check_vectors,
    in_parts,
    item_of,
    kept_audio,
    numbers_of,
)
from backbeat.recommend.catalogue.settings import CatalogueSettings, load_catalogue, named
from backbeat.recommend.catalogue.tables import DESCRIPTORS, FACTORS, FINGERPRINTS, ITEMS, OF_ITEM, REMOVED, STATE
from backbeat.recommend.catalogue.writing import Writer
from backbeat.recommend.interactions import Interaction, InteractionTable
from backbeat.recommend.items import KINDS, Item, ItemTable, Kind

if TYPE_CHECKING:
    from backbeat.audio.fingerprint import Match

#: An item, its vectors by space, and its fingerprint, which may be empty.
Addition: TypeAlias = tuple[Item, Mapping[str, NDArray], bytes]
#: Items of a transaction.
_BATCH = 2000
_INDEXES = "indexes"


class Catalogue:
    """Tracks and beats; safe for several threads and processes.

    Parameters
    ----------
    settings
        Where it lies; the database is made where there is none.

    Raises
    ------
    ConfigError
        If the URL is none, its driver is missing, or the tables are of a later version than this code.
    CatalogueError
        If the database is away.
    """

    def __init__(self, settings: CatalogueSettings) -> None:
        self.settings = settings
        self.place = settings.place
        if settings.file is not None:
            self.place.mkdir(parents=True, exist_ok=True)
        self._database = CatalogueDatabase(settings.url)
        self._memory = Memory(self._database)
        self._events = Events(self._database)
        self._writer = Writer(self._database, self.place)
        self.recordings = Recordings(self._database, self.place / "fingerprints")
        self._neighbours: dict[tuple[str, str], Neighbours] = {}
        self._guard = threading.Lock()

    @classmethod
    def open(cls, url: str | None = None, *, make: bool = False) -> Catalogue:
        """Open the catalogue of a URL or folder, that of the settings where none is given; errors as of the class.

        Without `make`, CatalogueError where it is a file that is not there yet.
        """
        settings = load_catalogue() if url is None else named(url, load_catalogue())
        if not make and settings.file is not None and not settings.file.is_file():
            raise CatalogueError(
                f"{settings.file}: there is no catalogue here; `backbeat catalogue starter` makes one of beats, "
                "`backbeat catalogue add` one of your own music"
            )
        return cls(settings)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Items

    def add(
        self, item: Item, vectors: Mapping[str, NDArray], fingerprint: bytes = b"", *, replace: bool = False
    ) -> None:
        """Keep an item; with `replace`, in the place of the one of its id, whose interactions stay.

        Raises
        ------
        CatalogueError
            If there is one of its id already, or a vector is none or of another length than those of its space.
        """
        self.add_many([(item, vectors, fingerprint)], replace=replace)

    def add_many(self, additions: Iterable[Addition], *, replace: bool = False) -> int:
        """Keep items, some thousands in a transaction; return how many. Errors as of `add`: what came before stays."""
        count = 0
        for batch in in_parts(additions, _BATCH):
            checked = [(item, check_vectors(vectors, item.id), mark) for item, vectors, mark in batch]
            with self._database.writing("items") as (connection, revision):
                self._writer.items(connection, revision, checked, replace)
            count += len(batch)
        return count

    def get(self, id: str) -> Item:
        """Return an item; UnknownItemError where there is none."""
        asked = _WHOLE.where(ITEMS.c.id == id)
        with self._database.begin() as connection:
            found = connection.execute(asked).mappings().first()
        if found is None:
            raise UnknownItemError(f"there is no item {id[:140]!r} in the catalogue")
        return item_of(found, self.place)

    def has(self, id: str) -> bool:
        """Tell whether there is an item of an id."""
        with self._database.begin() as connection:
            return bool(numbers_of(connection, [id]))

    def items(self, kind: Kind | None = None, after: str = "", limit: int = 100) -> list[Item]:
        """Return items in the order of their ids, those after an id, at most so many."""
        asked = _WHOLE.where(ITEMS.c.id > after).order_by(ITEMS.c.id).limit(limit)
        if kind is not None:
            asked = asked.where(ITEMS.c.kind == kind)
        with self._database.begin() as connection:
            return [item_of(row, self.place) for row in connection.execute(asked).mappings()]

    def count(self, kind: Kind | None = None) -> int:
        """Return how many items there are."""
        asked = select(func.count()).select_from(ITEMS)
        with self._database.begin() as connection:
            return int(connection.execute(asked if kind is None else asked.where(ITEMS.c.kind == kind)).scalar_one())

    def of_file(self, sha256: str) -> tuple[str, ...]:
        """Return the items made from a file of this hash."""
        with self._database.begin() as connection:
            return tuple(
                connection.execute(select(ITEMS.c.id).where(ITEMS.c.sha256 == sha256).order_by(ITEMS.c.id)).scalars()
            )

    def remove(self, id: str) -> dict[str, int]:
        """Remove an item everywhere; return how many rows of each table and files went.

        In SQLite zeros are written over what is deleted; `vacuum` of maintenance leaves no trace of what had been moved
        about in the file before either.

        Raises
        ------
        UnknownItemError
            If there is none.
        """
        with self._database.writing("items") as (connection, revision):
            found = connection.execute(select(ITEMS.c.number, ITEMS.c.path).where(ITEMS.c.id == id)).first()
            if found is None:
                raise UnknownItemError(f"there is no item {id[:140]!r} in the catalogue")
            gone = {name: self._writer.delete(connection, name, found.number) for name in OF_ITEM}
            connection.execute(insert(REMOVED).values(revision=revision, number=found.number))
        gone["audio"] = 0
        if (audio := kept_audio(found.path, self.place)) is not None and audio.is_file():
            audio.unlink()
            gone["audio"] = 1
        gone["indexes"] = self._erase(np.array([found.number])) + self.recordings.forget()
        self._database.settle()
        return gone

    # What choosing goes by

    @property
    def revision(self) -> int:
        """Changes with every write, of other processes as well."""
        return self._memory.state().revision

    @contextmanager
    def still(self) -> Iterator[State]:
        """Let this thread see tables and vectors as they are now until the block ends, whatever others write."""
        with self._memory.still() as state:
            yield state

    def table(self, kind: Kind) -> ItemTable:
        """Return the items of a kind as columns."""
        return self._memory.columns(kind).table

    def vectors(self, space: str, kind: Kind) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Return the vectors of a space, of items of a kind: ids in their order, and a matrix (ids, numbers) float32.

        Where every item has one, its rows are those of `table`. It is shared: not to be written to.
        """
        rows = self._memory.vectors(check_space(space), kind)
        return rows.ids, rows.matrix

    def spaces(self) -> dict[str, int]:
        """Return how many vectors there are of each space."""
        table = self._database.vectors
        asked = select(table.c.space, func.count()).group_by(table.c.space).order_by(table.c.space)
        with self._database.begin() as connection:
            return {str(space): int(count) for space, count in connection.execute(asked)}

    def nearest(
        self,
        space: str,
        vector: NDArray,
        count: int,
        *,
        kind: Kind,
        among: NDArray[np.bool_] | None = None,
    ) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Return the items whose vectors lie at the smallest angles to one, and the cosines of these, largest first.

        Equal ones are in the order of their ids.

        Parameters
        ----------
        space
            Of the vectors.
        vector
            (numbers,).
        count
            At most so many.
        kind
            Of the items.
        among
            (items of `table(kind)`,): which of them are asked for; use `still` round both.

        Raises
        ------
        CatalogueError
            If the vector has another length than those of the space, or `among` than the table.
        """
        with self.still():
            rows = self._memory.vectors(check_space(space), kind)
            places = None if among is None else self._places(rows.numbers, among, kind)
        query = np.ascontiguousarray(vector, dtype=np.float32)
        if not rows.ids or count < 1:
            return (), np.zeros(0, dtype=np.float32)
        if query.shape != rows.matrix.shape[1:]:
            raise CatalogueError(f"vectors of {space} have {rows.matrix.shape[1]} numbers, not {query.shape}")
        found, scores = self._finder(space, kind).nearest(
            rows, query, count, places, partial(self._memory.latest, space, kind)
        )
        return tuple(rows.ids[place] for place in found), scores

    def put_vectors(self, space: str, ids: Sequence[str], matrix: NDArray) -> int:
        """Keep vectors of a space for items that there are, in the place of those before; return how many."""
        table, count = self._database.vectors, 0
        for part in in_parts(zip(ids, matrix, strict=True), _BATCH):
            checked = {id_: check_vectors({space: vector}, id_) for id_, vector in part}
            with self._database.writing("items") as (connection, revision):
                numbers = numbers_of(connection, checked)
                there = list(numbers.values())
                connection.execute(delete(table).where(table.c.space == space, table.c.number.in_(there)))
                self._writer.vectors(connection, revision, [(number, checked[id_]) for id_, number in numbers.items()])
            count += len(numbers)
        return count

    def lacking(self, space: str, kind: Kind | None = None) -> list[tuple[str, str]]:
        """Return the items that have no vector of a space, and where their audio lies: pairs in the order of ids."""
        table = self._database.vectors
        having = select(table.c.number).where(table.c.space == check_space(space))
        asked = select(ITEMS.c.id, ITEMS.c.path).where(ITEMS.c.number.not_in(having)).order_by(ITEMS.c.id)
        if kind is not None:
            asked = asked.where(ITEMS.c.kind == kind)
        with self._database.begin() as connection:
            rows = connection.execute(asked).all()
        return [(row.id, str(kept_audio(row.path, self.place) or row.path)) for row in rows]

    def drop_space(self, space: str) -> int:
        """Remove all vectors of a space; return how many."""
        table = self._database.vectors
        with self._database.writing("items", "forgotten") as (connection, _):
            gone = connection.execute(delete(table).where(table.c.space == check_space(space))).rowcount
        for kind in KINDS:
            self._finder(space, kind).path.unlink(missing_ok=True)
        return gone

    # Fingerprints

    def fingerprint(self, id: str) -> bytes:
        """Return the fingerprint of an item, empty where it has none; UnknownItemError where there is no such item."""
        asked = (
            select(ITEMS.c.number, FINGERPRINTS.c.fingerprint)
            .outerjoin(FINGERPRINTS, FINGERPRINTS.c.number == ITEMS.c.number)
            .where(ITEMS.c.id == id)
        )
        with self._database.begin() as connection:
            found = connection.execute(asked).first()
        if found is None:
            raise UnknownItemError(f"there is no item {id[:140]!r} in the catalogue")
        return bytes(found.fingerprint or b"")

    def put_fingerprint(self, id: str, fingerprint: bytes) -> None:
        """Keep another fingerprint of an item, none where it is empty; UnknownItemError where there is no such item."""
        with self._database.writing("items") as (connection, revision):
            number = numbers_of(connection, [id]).get(id)
            if number is None:
                raise UnknownItemError(f"there is no item {id[:140]!r} in the catalogue")
            self._writer.fingerprint(connection, revision, number, fingerprint)

    def same_recording(self, fingerprint: bytes) -> list[Match]:
        """Return the items that hold what a fingerprint was taken of, or are parts of it, best first."""
        return self.recordings.find(fingerprint)

    # Listeners

    def add_interactions(self, rows: Sequence[Interaction]) -> int:
        """Keep what listeners did, all or none; return how many were new. UnknownItemError where an item is none."""
        return self._events.add(rows)

    def interactions(self, user: str | None = None, since: float | None = None) -> InteractionTable:
        """Return what listeners did, in the order of time: all, a user's, from a time on (seconds since 1970)."""
        return self._events.table(user, since)

    def users(self) -> tuple[str, ...]:
        """Return who did something, in order."""
        return self._events.users()

    def forget_user(self, user: str) -> dict[str, int]:
        """Remove a user: all that they did; return how many rows. UnknownItemError where there is no such user."""
        gone = self._events.forget(user)
        self._database.settle()
        return gone

    def put_factors(self, stamp: str, ids: Sequence[str], matrix: NDArray) -> int:
        """Keep what recommenders learned of items, in the place of what was; return of how many.

        Items that are gone meanwhile are left out. `stamp` tells it from others.
        """
        with self._database.writing("factors") as (connection, _):
            numbers = numbers_of(connection, ids)
            connection.execute(delete(FACTORS))
            values = [
                {"number": numbers[id_], "vector": stored(FACTORS, vector)}
                for id_, vector in zip(ids, np.asarray(matrix, dtype=np.float32), strict=True)
                if id_ in numbers
            ]
            if values:
                connection.execute(insert(FACTORS), values)
            connection.execute(STATE.update().where(STATE.c.name == "factors").values(text=stamp))
        return len(values)

    def factors(self) -> tuple[str, tuple[str, ...], NDArray[np.float32]] | None:
        """Return the stamp, ids in their order and matrix (ids, factors) float32 that were put; None if none were."""
        return self._memory.factors()

    # Upkeep

    def vacuum(self) -> None:
        """Write the database and the indexes beside it anew, with nothing in them of what was removed."""
        self._database.vacuum()
        self.recordings.compact()
        self.index()

    def index(self) -> None:
        """Make the indexes of vectors anew where there are so many that they are searched by one."""
        for space in self.spaces():
            for kind in KINDS:
                self._finder(space, kind).rebuild(partial(self._memory.latest, space, kind))

    def strays(self) -> list[Path]:
        """Return the files in the catalogue's folder that belong to no item and no space any more."""
        with self._database.begin() as connection:
            paths = connection.execute(select(ITEMS.c.path).where(ITEMS.c.path.startswith(f"{AUDIO}/"))).scalars()
            known = {self.place / path for path in paths}
        known |= {self._finder(space, kind).path for space in self.spaces() for kind in KINDS}
        files = [*(self.place / AUDIO).glob("*"), *(self.place / _INDEXES).glob("*.hnsw")]
        return sorted(path for path in files if path.is_file() and path not in known)

    # What these stand on

    def _places(self, numbers: NDArray[np.int64], among: NDArray[np.bool_], kind: Kind) -> NDArray[np.int64]:
        """Return which of the vectors are of items that are asked for."""
        of_table = self._memory.columns(kind).numbers
        if among.shape != of_table.shape:
            raise CatalogueError("the catalogue changed between its table and a choice from it: ask again")
        if len(numbers) == len(of_table):
            return np.flatnonzero(among)
        return np.flatnonzero(np.isin(numbers, of_table[among]))

    def _finder(self, space: str, kind: str) -> Neighbours:
        with self._guard:
            if (space, kind) not in self._neighbours:
                folder = self.place / _INDEXES
                self._neighbours[space, kind] = Neighbours(folder, space, kind, self.settings.neighbours)
            return self._neighbours[space, kind]

    def _erase(self, numbers: NDArray[np.int64]) -> int:
        """Erase items from the indexes; return from how many."""
        return sum(self._finder(space, kind).erase(numbers) for space in self.spaces() for kind in KINDS)


_WHOLE = select(ITEMS, DESCRIPTORS.c.descriptors).join(DESCRIPTORS, DESCRIPTORS.c.number == ITEMS.c.number)
