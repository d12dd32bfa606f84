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
        state = self.state()
        with self._guard:
            since, columns = self._columns.get(kind, (-1, Columns.empty()))
            if since < state.items:
                with self._database.begin() as connection:
                    since = since if since >= state.forgotten else -1
                    gone = _removed(connection, since)
                    asked = select(*_ROWS).where(ITEMS.c.kind == kind)
                    new = columns_of(connection.execute(_from(asked, ITEMS.c.changed, since)).all())
                columns = new if since < 0 else columns.changed(gone, new)
                self._columns[kind] = state.items, columns
        if seen is not None:
            seen[kind] = columns
        return columns

    def vectors(self, space: str, kind: str) -> VectorRows:
        """Return the vectors of a space, of items of a kind."""
        seen = getattr(self._pinned, "seen", None)
        if seen is not None and (space, kind) in seen:
            found: VectorRows = seen[space, kind]
            return found
        rows = self._refreshed(space, kind, self.state())
        if seen is not None:
            seen[space, kind] = rows
        return rows

    def latest(self, space: str, kind: str) -> tuple[VectorRows, int]:
        """Return them as they are now whatever is in force, and the revision."""
        state = self._database.state()
        return self._refreshed(space, kind, state), state.items

    def factors(self) -> tuple[str, tuple[str, ...], NDArray[np.float32]] | None:
        """Return what was learned of items from interactions: its stamp, ids in their order, a matrix."""
        state = self.state()
        with self._guard:
            since, stamp, rows = self._factors
            if since < max(state.factors, state.items):
                anew = since < max(state.factors, state.forgotten)
                with self._database.begin() as connection:
                    gone = _NONE if anew else _removed(connection, since)
                    # Those that were replaced have theirs still.
                    asked = _FACTORS if anew else _FACTORS.where(FACTORS.c.number.in_(gone.tolist()))
                    new = _vector_rows(connection.execute(asked).all())
                    stamp = str(connection.execute(_STAMP).scalar_one())
                rows = new if anew else rows.altered(gone, new)
                self._factors = max(state.factors, state.items), stamp, rows
            return (stamp, rows.ids, rows.matrix) if rows.ids else None

    def _refreshed(self, space: str, kind: str, state: State) -> VectorRows:
        table = self._database.vectors
        with self._guard:
            since, rows = self._vectors.get((space, kind), (-1, None))
            if rows is None or since < state.forgotten:
                since, rows = -1, _vector_rows([])
            if since < state.items:
                asked = (
                    select(ITEMS.c.id, table.c.number, table.c.vector, table.c.changed)
                    .join(ITEMS, ITEMS.c.number == table.c.number)
                    .where(table.c.space == space, ITEMS.c.kind == kind)
                )
                with self._database.begin() as connection:
                    gone = _removed(connection, since)
                    found = connection.execute(_from(asked, table.c.changed, since)).all()
                new = _vector_rows(found)
                rows = new if since < 0 else rows.altered(gone, new)
                self._vectors[space, kind] = state.items, rows
            return rows


_STAMP = select(STATE.c.text).where(STATE.c.name == "factors")
_FACTORS = select(ITEMS.c.id, ITEMS.c.number, FACTORS.c.vector, ITEMS.c.changed).join(
    ITEMS, ITEMS.c.number == FACTORS.c.number
)


def _vector_rows(found: Sequence[Any]) -> VectorRows:
    """Return rows of id, number, vector and revision as vectors."""
    ids, numbers, vectors, changed = zip(*found, strict=True) if found else ((), (), (), ())
    return VectorRows.of(ids, numbers, matrix_of(list(vectors)), changed)


def _from(asked: Select[Any], changed: ColumnElement[int], since: int) -> Select[Any]:
    """Ask only for what came since; at the beginning for all, which the index would only slow down."""
    return asked.where(changed > since) if since >= 0 else asked


def _removed(connection: Connection, since: int) -> NDArray[np.int64]:
    """Return the numbers of the items that went since."""
    if since < 0:
        return _NONE
    found = connection.execute(select(REMOVED.c.number).where(REMOVED.c.revision > since)).scalars()
    return np.array(list(found), dtype=np.int64)
