"""Items, and what belongs to them, into the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, select

from backbeat.errors import CatalogueError
from backbeat.recommend.catalogue.database import CatalogueDatabase
from backbeat.recommend.catalogue.pgvector import matrix_of, stored
from backbeat.recommend.catalogue.rows import item_row, numbers_of
from backbeat.recommend.catalogue.tables import DESCRIPTORS, FINGERPRINTS, ITEMS, OF_ITEM, REMOVED
from backbeat.recommend.items import Item


class Writer:
    """Writes within a transaction that is given.

    Parameters
    ----------
    database
        Of the catalogue.
    place
        Its folder.
    """

    def __init__(self, database: CatalogueDatabase, place: Path) -> None:
        self._database = database
        self._place = place

    def items(
        self,
        connection: Connection,
        revision: int,
        batch: Sequence[tuple[Item, dict[str, NDArray[np.float32]], bytes]],
        replacing: bool,
    ) -> None:
        """Write items with what belongs to them; errors as of `Catalogue.add`."""
        ids = [item.id for item, _, _ in batch]
        if len(set(ids)) < len(ids):
            raise CatalogueError("an id comes twice among the items to be added")
        there = numbers_of(connection, ids)
        if there and not replacing:
            raise CatalogueError(f"there is an item {min(there)!r} in the catalogue already")
        for number in there.values():
            for name in ("items", "descriptors", "vectors", "fingerprints"):
                self.delete(connection, name, number)
            connection.execute(insert(REMOVED).values(revision=revision, number=number))
        first = self._database.count(connection, "numbers", len(batch)) - len(batch) + 1
        numbers = [there.get(id_, number) for number, id_ in enumerate(ids, first)]
        whole = list(zip(numbers, batch, strict=True))
        rows = [item_row(item, number, revision, self._place) for number, (item, _, _) in whole]
        connection.execute(insert(ITEMS), rows)
        told = [{"number": number, "descriptors": item.descriptors.to_dict()} for number, (item, _, _) in whole]
        connection.execute(insert(DESCRIPTORS), told)
        self.vectors(connection, revision, [(number, vectors) for number, (_, vectors, _) in whole])
        marks = [{"number": number, "fingerprint": mark, "changed": revision} for number, (_, _, mark) in whole if mark]
        if marks:
            connection.execute(insert(FINGERPRINTS), marks)

    def vectors(
        self, connection: Connection, revision: int, vectors: Sequence[tuple[int, Mapping[str, NDArray[np.float32]]]]
    ) -> None:
        """Write vectors, by space, of items by number."""
        table = self._database.vectors
        values, sizes = [], {}
        for number, of_item in vectors:
            for space, vector in of_item.items():
                if space not in sizes:
                    sizes[space] = self._size(connection, space) or vector.size
                if vector.size != sizes[space]:
                    raise CatalogueError(f"vectors of {space} have {sizes[space]} numbers, not {vector.size}")
                values.append({"space": space, "number": number, "vector": stored(table, vector), "changed": revision})
        if values:
            connection.execute(insert(table), values)

    def fingerprint(self, connection: Connection, revision: int, number: int, fingerprint: bytes) -> None:
        """Write the fingerprint of an item, by number, in the place of what it had."""
        self.delete(connection, "fingerprints", number)
        if fingerprint:
            values = {"number": number, "fingerprint": fingerprint, "changed": revision}
            connection.execute(insert(FINGERPRINTS).values(values))

    def _size(self, connection: Connection, space: str) -> int:
        """Return how many numbers the vectors of a space have; 0 where there are none."""
        table = self._database.vectors
        found = connection.execute(select(table.c.vector).where(table.c.space == space).limit(1)).scalar()
        return 0 if found is None else matrix_of([found]).shape[1]

    def delete(self, connection: Connection, name: str, number: int) -> int:
        """Delete the rows of an item from a table (`OF_ITEM`); return how many."""
        table = self._database.vectors if name == "vectors" else OF_ITEM[name]
        return connection.execute(delete(table).where(table.c.number == number)).rowcount
