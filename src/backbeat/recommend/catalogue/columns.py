"""Items as columns and vectors as matrices, in the order of ids, and what changes of them without reading all anew."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backbeat.recommend.items import ItemTable, table_of

#: From so many on it is quicker to sort all than to find the place of each.
_FEW = 1000


@dataclass(frozen=True, eq=False)
class Columns:
    """The items of a kind, and their numbers (items,) in the order of the table."""

    table: ItemTable
    numbers: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Columns:
        """Return those of no items."""
        return cls(table_of([]), np.zeros(0, dtype=np.int64))

    def changed(self, gone: NDArray[np.int64], new: Columns) -> Columns:
        """Return these without the items of some numbers, and with others."""
        ids, kept, place = _merge(self.table.ids, self.numbers, gone, new.table.ids, new.numbers)
        columns = {
            field.name: _put(getattr(self.table, field.name), kept, place, getattr(new.table, field.name))
            for field in fields(ItemTable)
            if field.name != "ids"
        }
        return Columns(replace(self.table, ids=ids, **columns), _put(self.numbers, kept, place, new.numbers))


@dataclass(frozen=True, eq=False)
class VectorRows:
    """Vectors of a space, of items of a kind.

    Parameters
    ----------
    ids, numbers
        Of the items, in the order of the ids.
    matrix
        (items, numbers), float32.
    changed
        (items,): the revision at which each came.
    """

    ids: tuple[str, ...]
    numbers: NDArray[np.int64]
    matrix: NDArray[np.float32]
    changed: NDArray[np.int64]

    @cached_property
    def lengths(self) -> NDArray[np.float32]:
        """The length of each vector, (items,); tiny where it is nothing, so that it can be divided by."""
        return np.asarray(np.maximum(np.sqrt(np.vecdot(self.matrix, self.matrix)), 1e-12), dtype=np.float32)

    @classmethod
    def of(
        cls, ids: Sequence[str], numbers: Sequence[int], matrix: NDArray[np.float32], changed: Sequence[int]
    ) -> VectorRows:
        """Return vectors that come in any order."""
        order = sorted(range(len(ids)), key=ids.__getitem__)
        return cls(
            tuple(ids[place] for place in order),
            np.array(numbers, dtype=np.int64)[order],
            matrix[order],
            np.array(changed, dtype=np.int64)[order],
        )

    def altered(self, gone: NDArray[np.int64], new: VectorRows) -> VectorRows:
        """Return these without the items of some numbers, and with others."""
        ids, kept, place = _merge(self.ids, self.numbers, gone, new.ids, new.numbers)
        matrix = self.matrix if len(self.ids) else new.matrix[:0]
        return VectorRows(
            ids,
            _put(self.numbers, kept, place, new.numbers),
            _put(matrix, kept, place, new.matrix if len(new.ids) else matrix[:0]),
            _put(self.changed, kept, place, new.changed),
        )


def _merge(
    ids: tuple[str, ...],
    numbers: NDArray[np.int64],
    gone: NDArray[np.int64],
    new_ids: tuple[str, ...],
    new_numbers: NDArray[np.int64],
) -> tuple[tuple[str, ...], NDArray[np.bool_], NDArray[np.int64]]:
    """Return the ids then, which rows stay, and before which of those that stay each new one comes."""
    kept = ~np.isin(numbers, np.concatenate([gone, new_numbers]))
    staying = list(ids)
    if not kept.all():
        staying = [ids[place] for place in np.flatnonzero(kept)]
    if len(new_ids) > _FEW and staying:
        places = np.searchsorted(np.array(staying), np.array(new_ids))
    else:
        places = np.array([bisect_left(staying, one) for one in new_ids], dtype=np.int64)
    # Two runs in order: sorting them is no more than a merge.
    return (tuple(sorted([*staying, *new_ids])) if new_ids else tuple(staying)), kept, places


def _put(old: NDArray, kept: NDArray[np.bool_], place: NDArray[np.int64], new: NDArray) -> NDArray:
    """Return what stays of an array with other rows among it; texts are as long as the longest."""
    if kept.all() and not len(new):
        return old
    staying = old if kept.all() else old[kept]
    # Else numpy would cut a text to the length of those before it.
    return np.insert(staying.astype(np.result_type(old, new), copy=False), place, new, axis=0)
