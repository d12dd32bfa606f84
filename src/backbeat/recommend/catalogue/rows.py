"""Items and their vectors as rows of the tables, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, RowMapping, select

from backbeat.errors import CatalogueError
from backbeat.recommend.catalogue.columns import Columns
from backbeat.recommend.catalogue.tables import ITEMS
from backbeat.recommend.items import Item, row_of, table_of

_SPACE = re.compile(r"[a-z][a-z0-9_-]*:[A-Za-z0-9._-]+")
_LONGEST_SPACE = 64
#: The folder of the audio that a catalogue keeps, in its own.
AUDIO = "audio"
#: Values of a question at most: SQLite takes 32,766.
_AT_ONCE = 10_000
_T = TypeVar("_T")
_TEXTS = ("id", "kind", "title", "artist", "label", "path", "sha256", "source", "licence")


def in_parts(values: Iterable[_T], size: int = _AT_ONCE) -> Iterator[list[_T]]:
    """Give values in lists of a size at most."""
    left = iter(values)
    while part := list(islice(left, size)):
        yield part


def numbers_of(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """Return the numbers of items, by id, of those that there are."""
    found: dict[str, int] = {}
    for part in in_parts(ids):
        asked = select(ITEMS.c.id, ITEMS.c.number).where(ITEMS.c.id.in_(part))
        found.update((row.id, int(row.number)) for row in connection.execute(asked))
    return found


def item_row(item: Item, number: int, revision: int, place: Path) -> dict[str, Any]:
    """Return the row of an item; `place` is the folder of the catalogue."""
    texts = {name: getattr(item, name) for name in _TEXTS}
    path = Path(item.path)
    if item.path and path.is_relative_to(place / AUDIO):
        texts["path"] = path.relative_to(place).as_posix()
    return {**texts, **row_of(item), "number": number, "changed": revision}


def item_of(row: RowMapping, place: Path) -> Item:
    """Return the item of a row that has its descriptors as well."""
    values = {name: row[name] for name in (*_TEXTS, "duration_s", "added_at", "descriptors")}
    kept = kept_audio(values["path"], place)
    return Item.from_dict({**values, "path": values["path"] if kept is None else str(kept)})


def kept_audio(path: str, place: Path) -> Path | None:
    """Return where the audio of a row's path lies if the catalogue itself keeps it; None if it does not."""
    return place / path if path.startswith(f"{AUDIO}/") else None


def columns_of(rows: Sequence[Any]) -> Columns:
    """Return rows of the table of items as columns."""
    if not rows:
        return Columns.empty()
    named = [row._mapping for row in rows]
    numbers = {row["id"]: row["number"] for row in named}
    table = table_of(named)
    return Columns(table, np.array([numbers[one] for one in table.ids], dtype=np.int64))


def check_space(space: str) -> str:
    """Return the name of a space; CatalogueError unless it is "NAME:HASH"."""
    if not _SPACE.fullmatch(space) or len(space) > _LONGEST_SPACE:
        raise CatalogueError(f"space {space[:80]!r} must be NAME:HASH, such as genre:1a2b3c4d5e6f")
    return space


def check_vectors(vectors: Mapping[str, NDArray], id_: str) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of an item as float32; CatalogueError unless each is one, of finite numbers."""
    found = {}
    for space, vector in vectors.items():
        values = np.asarray(vector, dtype=np.float32)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise CatalogueError(f"{id_}: its vector in {check_space(space)} must be a row of finite numbers")
        found[check_space(space)] = values
    return found
