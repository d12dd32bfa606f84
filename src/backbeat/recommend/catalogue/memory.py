"""What of a catalogue is kept in memory, and brought up to date by what has changed since."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, select

from backbeat.recommend.catalogue.columns import Columns, VectorRows
from backbeat.recommend.catalogue.database import CatalogueDatabase, State
from backbeat.recommend.catalogue.pgvector import matrix_of
from backbeat.recommend.catalogue.rows import columns_of
from backbeat.recommend.catalogue.tables import FACTORS, ITEMS, REMOVED, STATE

_NOT_IN_TABLES = ("kind", "title", "path", "sha256", "source", "licence")
_ROWS = [column for column in ITEMS.c if column.name not in _NOT_IN_TABLES]
#: So many that were removed or replaced at once are no few changes: all is read again.
_MANY = 10_000
_NONE = np.zeros(0, dtype=np.int64)


class Memory:
    """Tables, vectors and factors as they were last seen; for several threads."""

    def __init__(self, database: CatalogueDatabase) -> None:
        self._database = database
        self._guard = threading.RLock()
        self._pinned = threading.local()
        self._columns: dict[str, tuple[int, Columns]] = {}
        self._vectors: dict[tuple[str, str], tuple[int, VectorRows]] = {}
        self._factors = (-1, "", _vector_rows([]))

    def state(self) -> State:
        """Return how far the catalogue is, or was where `still` is in force."""
        pinned: State | None = getattr(self._pinned, "state", None)
        return self._database.state() if pinned is None else pinned

    @contextmanager
    def still(self) -> Iterator[State]:
        """Let this thread see the same until the block ends."""
        before = getattr(self._pinned, "seen", None)
        if before is not None:
            yield self._pinned.state
            return
        self._pinned.state, self._pinned.seen = self._database.state(), {}
        try:
            yield self._pinned.state
        finally:
            self._pinned.state = self._pinned.seen = None

    def columns(self, kind: str) -> Columns:
        """Return the items of a kind."""
        seen = getattr(self._pinned, "seen", None)
        if seen is not None and kind in seen:
            found: Columns = seen[kind]
            return found
        with self._guard:
            _, columns = self._latest_columns(kind, self.state())
        if seen is not None:
            seen[kind] = columns
        return columns

    def vectors(self, space: str, kind: str) -> VectorRows:
        """Return the vectors of a space, of items of a kind; where `still` is in force, only of those in `columns`."""
        seen = getattr(self._pinned, "seen", None)
        if seen is None:
            with self._guard:
                return self._latest_vectors(space, kind, self.state())[1]
        if (space, kind) not in seen:
            with self._guard:
                columns = self.columns(kind)
                at, rows = self._latest_vectors(space, kind, self.state())
                # Another thread may have brought the one further than the other.
                if self._columns[kind] != (at, columns):
                    rows = rows.altered(np.setdiff1d(rows.numbers, columns.numbers), _vector_rows([]))
            seen[space, kind] = rows
        found: VectorRows = seen[space, kind]
        return found

    def latest(self, space: str, kind: str) -> tuple[VectorRows, int]:
        """Return them as they are now whatever is in force, and the revision."""
        state = self._database.state()
        with self._guard:
            return self._latest_vectors(space, kind, state)[1], state.items

    def factors(self) -> tuple[str, tuple[str, ...], NDArray[np.float32]] | None:
        """Return what was learned of items from interactions: its stamp, ids in their order, a matrix."""
        state = self.state()
        now = max(state.factors, state.items, state.forgotten)
        with self._guard:
            since, stamp, rows = self._factors
            if since < now:
                with self._database.begin() as connection:
                    gone = _removed(connection, since)
                    anew = since < max(state.factors, state.forgotten) or len(gone) > _MANY
                    # Those that were replaced have theirs still.
                    asked = _FACTORS if anew else _FACTORS.where(FACTORS.c.number.in_(gone.tolist()))
                    new = _vector_rows(connection.execute(asked).all())
                    stamp = str(connection.execute(_STAMP).scalar_one())
                rows = new if anew else rows.altered(gone, new)
                self._factors = now, stamp, rows
            return (stamp, rows.ids, rows.matrix) if rows.ids else None

    def _latest_columns(self, kind: str, state: State) -> tuple[int, Columns]:
        since, columns = self._columns.get(kind, (-1, Columns.empty()))
        if since < (now := max(state.items, state.forgotten)):
            since = since if since >= state.forgotten else -1
            asked = select(*_ROWS).where(ITEMS.c.kind == kind)
            with self._database.begin() as connection:
                gone = _removed(connection, since)
                new = columns_of(connection.execute(_from(asked, ITEMS.c.changed, since, state)).all())
            self._columns[kind] = now, new if since < 0 else columns.changed(gone, new)
        return self._columns[kind]

    def _latest_vectors(self, space: str, kind: str, state: State) -> tuple[int, VectorRows]:
        # Before the vectors, so that each of these is of an item that the table of the same time has.
        self._latest_columns(kind, state)
        since, rows = self._vectors.get((space, kind), (-1, _vector_rows([])))
        if since < (now := max(state.items, state.forgotten)):
            since, table = since if since >= state.forgotten else -1, self._database.vectors
            asked = (
                select(ITEMS.c.id, table.c.number, table.c.vector, table.c.changed)
                .join(ITEMS, ITEMS.c.number == table.c.number)
                .where(table.c.space == space, ITEMS.c.kind == kind)
            )
            with self._database.begin() as connection:
                gone = _removed(connection, since)
                new = _vector_rows(connection.execute(_from(asked, table.c.changed, since, state)).all())
            self._vectors[space, kind] = now, new if since < 0 else rows.altered(gone, new)
        return self._vectors[space, kind]


_STAMP = select(STATE.c.text).where(STATE.c.name == "factors")
_FACTORS = select(ITEMS.c.id, ITEMS.c.number, FACTORS.c.vector, ITEMS.c.changed).join(
    ITEMS, ITEMS.c.number == FACTORS.c.number
)


def _vector_rows(found: Sequence[Any]) -> VectorRows:
    """Return rows of id, number, vector and revision as vectors."""
    ids, numbers, vectors, changed = zip(*found, strict=True) if found else ((), (), (), ())
    return VectorRows.of(ids, numbers, matrix_of(list(vectors)), changed)


def _from(asked: Select[Any], changed: ColumnElement[int], since: int, state: State) -> Select[Any]:
    """Ask only for what came since, until a state; at the beginning the index would only slow that down."""
    return asked.where(changed > since, changed <= state.revision) if since >= 0 else asked


def _removed(connection: Connection, since: int) -> NDArray[np.int64]:
    """Return the numbers of the items that went since."""
    if since < 0:
        return _NONE
    found = connection.execute(select(REMOVED.c.number).where(REMOVED.c.revision > since)).scalars()
    return np.array(list(found), dtype=np.int64)
