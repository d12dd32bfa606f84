"""What listeners did: one by one, as columns, and from files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import AnnotationError, BackbeatError
from backbeat.files import write_text
from backbeat.recommend.items import check_id

if TYPE_CHECKING:
    import pandas as pd

InteractionKind = Literal["play", "like", "skip", "dislike", "save"]
#: How much each says for an item, or against it.
WEIGHTS: dict[str, float] = {"play": 1.0, "save": 3.0, "like": 4.0, "skip": -1.0, "dislike": -4.0}
_COLUMNS = ("user", "item", "kind", "at")
#: The file of a data set, or of an export, that has them.
EXPORTED = "interactions.csv"


@dataclass(frozen=True)
class Interaction:
    """Something that a listener did with an item; CatalogueError or AnnotationError where it cannot be.

    Parameters
    ----------
    user, item
        Identifiers (`check_id`).
    kind
        "play", "like", "skip", "dislike" or "save".
    at
        Seconds since 1970.
    id
        As whoever tells it calls it: of a user's interactions of one id the first is kept. Empty for none.
    """

    user: str
    item: str
    kind: InteractionKind
    at: float
    id: str = ""

    def __post_init__(self) -> None:
        if self.id:
            check_id(self.id)
        check_id(self.user, "user")
        check_id(self.item, "item")
        if self.kind not in WEIGHTS:
            raise AnnotationError(f"kind {self.kind!r} must be one of {', '.join(get_args(InteractionKind))}")
        if not (math.isfinite(self.at) and self.at >= 0):
            raise AnnotationError(f"time {self.at!r} must be seconds since 1970")

    @property
    def weight(self) -> float:
        """How much it says for the item, or against it."""
        return WEIGHTS[self.kind]


@dataclass(frozen=True, eq=False)
class InteractionTable:
    """Interactions as columns, in the order of their times; one entry of each array an interaction.

    Parameters
    ----------
    users, items, kind
        Texts.
    at
        Seconds since 1970.
    weight
        As `WEIGHTS` has it.
    """

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    kind: NDArray[np.str_]
    at: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at)


def interaction_table(rows: Sequence[tuple[str, str, str, float]]) -> InteractionTable:
    """Make a table of rows (user, item, kind, at), ordered by time, then user, item and kind."""
    ordered = sorted(rows, key=lambda row: (row[3], row[0], row[1], row[2]))
    users, items, kinds, at = zip(*ordered, strict=True) if ordered else ((), (), (), ())
    return InteractionTable(
        users=np.array(users, dtype=np.str_),
        items=np.array(items, dtype=np.str_),
        kind=np.array(kinds, dtype=np.str_),
        at=np.array(at, dtype=np.float64),
        weight=np.array([WEIGHTS[kind] for kind in kinds], dtype=np.float64),
    )


def read_interactions(path: Path, *, latest: float = math.inf) -> list[Interaction]:
    """Read a CSV or Parquet file with the columns user, item, kind and at (seconds since 1970, or an ISO date).

    Parameters
    ----------
    path
        The file.
    latest
        No interaction can be after this, seconds since 1970.

    Raises
    ------
    AnnotationError
        If the file cannot be read, lacks a column or holds a row that cannot be, naming the line: that of the file in
        CSV, the row counted from 1 in Parquet.
    """
    table = _read(path)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise AnnotationError(f"lacks the column {', '.join(missing)}; it needs {', '.join(_COLUMNS)}", path)
    first = 2 if path.suffix.lower() == ".csv" else 1
    found = []
    for number, (user, item, kind, at) in enumerate(zip(*(table[name] for name in _COLUMNS), strict=True)):
        try:
            one = Interaction(str(user), str(item), kind, _seconds(at))
            if one.at > latest:
                raise AnnotationError(f"time {at!r} is in the future; times are seconds since 1970, or dates")
            found.append(one)
        except (ValueError, TypeError, BackbeatError) as error:
            problem = error.problem if isinstance(error, AnnotationError) else str(error)
            raise AnnotationError(problem, path, number + first) from None
    return found


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (OSError, ValueError, ImportError) as error:
        raise AnnotationError(f"cannot be read: {' '.join(str(error).split())[:200]}", path) from None
    raise AnnotationError("interactions are read from .csv and .parquet", path)


def _seconds(value: Any) -> float:
    """Return seconds since 1970 of a number, or of a date as text or as Parquet has it, UTC where no zone is told."""
    import pandas as pd

    try:
        return float(value) if not isinstance(value, pd.Timestamp) else _since_1970(value)
    except ValueError:
        pass
    try:
        return _since_1970(pd.Timestamp(value))
    except (ValueError, TypeError):
        raise AnnotationError(
            f"time {value!r} must be seconds since 1970 or a date such as 2026-03-01T12:00:00Z"
        ) from None


def _since_1970(moment: pd.Timestamp) -> float:
    import pandas as pd

    if pd.isna(moment):
        raise AnnotationError("the time is missing")
    return float((moment.tz_localize("UTC") if moment.tzinfo is None else moment).timestamp())


def write_interactions(path: Path, table: InteractionTable) -> None:
    """Write interactions as a CSV file that `read_interactions` reads, atomically."""
    columns = (table.users, table.items, table.kind, table.at)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [f"{user},{item},{kind},{at:.3f}\n" for user, item, kind, at in rows]
    write_text(path, "".join([",".join(_COLUMNS) + "\n", *lines]))
