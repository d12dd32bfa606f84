"""What is kept, and for how long: rows become summaries of their hours, then threads to their models, then nothing.

A batch of rows of an hour, its part of the summary and what is left of it are one transaction: a process that is killed
leaves no row counted twice and none uncounted, and the next goes on.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, ColumnElement, RowMapping, Table, and_, delete, func, insert, null, or_, select

from backbeat.errors import ConfigError
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import ALERTS, CHECKS, DELIVERIES, PREDICTIONS, SUMMARIES
from backbeat.settings import above_zero

_DAY_S, _HOUR_S = 86400.0, 3600.0
#: Which quantiles a summary has, the least and the greatest value among them.
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
#: Names of a measure beyond so many are counted together, as "…".
_MOST_NAMES = 100
_OTHERS = "…"
#: Pages of an SQLite file that are given back at once.
_PAGES = 2000
#: Rows that are no mere threads.
_FULL = PREDICTIONS.c.measures.is_not(None)


@dataclass(frozen=True)
class RetentionSettings:
    """For how long; ConfigError when it makes no sense.

    Parameters
    ----------
    every_s
        Between two times that is seen to.
    keep_rows_d, max_rows
        Days, and how many rows, before a row becomes part of its hour's summary and a thread.
    keep_threads_d, max_threads
        Before the thread from a request to its models goes too.
    keep_history_d
        Before checks, messages and closed alerts go.
    keep_summaries_d
        Before summaries go.
    batch_rows
        Rows of a transaction. In an hour with more, quantiles are mixed from those of its batches, and approximate.
    """

    every_s: float
    keep_rows_d: float
    max_rows: int
    keep_threads_d: float
    max_threads: int
    keep_history_d: float
    keep_summaries_d: float
    batch_rows: int

    def __post_init__(self) -> None:
        above_zero("retention", self)
        if self.keep_threads_d < self.keep_rows_d or self.max_threads < self.max_rows:
            raise ConfigError("retention: threads are kept no shorter than rows")


@dataclass(frozen=True)
class Retained:
    """How many rows became threads, and how many of all tables went."""

    compacted: int
    removed: int


def retain(
    store: MonitoringStore,
    settings: RetentionSettings,
    *,
    now: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Retained:
    """Compact and remove what is due, a batch at a time, and give an SQLite file's room back; others may write.

    Parameters
    ----------
    store, settings
        Of what, and for how long.
    now
        Seconds since 1970.
    stopped
        Asked between batches: whether to leave the rest for the next time.

    Raises
    ------
    MonitoringError
        If the database is away.
    """
    now = time.time() if now is None else now
    compacted = removed = 0
    until = _compact_until(store, settings, now)
    while not stopped() and (batch := _compact_batch(store, until, settings.batch_rows)):
        compacted += batch
    for table, condition in _due(settings, now):
        while not stopped() and (batch := _remove_batch(store, table, condition, settings.batch_rows)):
            removed += batch
    while not stopped() and (batch := _remove_beyond(store, settings)):
        removed += batch
    if compacted or removed:
        _give_back(store, stopped)
    return Retained(compacted, removed)


def _compact_until(store: MonitoringStore, settings: RetentionSettings, now: float) -> float:
    """Return the time up to which rows are due: too old, or with as many after them as are kept."""
    beyond = select(PREDICTIONS.c.at).where(_FULL).order_by(PREDICTIONS.c.at.desc()).offset(settings.max_rows).limit(1)
    with store.begin() as connection:
        last = connection.execute(beyond).scalar()
    old = now - settings.keep_rows_d * _DAY_S
    return old if last is None else max(old, last)


def _compact_batch(store: MonitoringStore, until: float, most: int) -> int:
    """Compact rows of the oldest hour that has any due; return how many."""
    with store.begin() as connection:
        oldest = connection.execute(select(func.min(PREDICTIONS.c.at)).where(_FULL)).scalar()
        if oldest is None or oldest > until:
            return 0
        hour = oldest // _HOUR_S * _HOUR_S
        due = and_(_FULL, PREDICTIONS.c.at >= hour, PREDICTIONS.c.at < hour + _HOUR_S, PREDICTIONS.c.at <= until)
        asked = select(PREDICTIONS).where(due).order_by(PREDICTIONS.c.at, PREDICTIONS.c.id).limit(most)
        rows = connection.execute(asked).mappings().all()
    parts = summarise([_told(row) for row in rows])
    try:
        _replace(store, hour, rows, parts)
    except _ChangedError:
        return 0
    return len(rows)


class _ChangedError(Exception):
    """Another has compacted rows meanwhile: nothing is done, and they are seen to next time."""


def _replace(store: MonitoringStore, hour: float, rows: Sequence[RowMapping], parts: Mapping[str, Summary]) -> None:
    """Put the summary and the threads of rows in their place."""
    kept = [name for name in PREDICTIONS.c.keys() if name not in ("measures", "answer", "embedding")]  # noqa: SIM118
    threads = [{name: row[name] for name in kept} for row in rows]
    with store.alone() as connection:
        gone = 0
        for ids in _pieces([row["id"] for row in rows]):
            # Removed and put back: an UPDATE would leave the pages of an SQLite file half empty for good.
            this = and_(PREDICTIONS.c.id.in_(ids), _FULL)
            gone += connection.execute(delete(PREDICTIONS).where(this)).rowcount
        if gone != len(rows):
            raise _ChangedError
        connection.execute(insert(PREDICTIONS).values(measures=null(), answer=null(), embedding=None), threads)
        there = {
            row["measure"]: Summary.read(row["count"], row["summary"])
            for row in connection.execute(select(SUMMARIES).where(SUMMARIES.c.hour == hour)).mappings()
        }
        connection.execute(delete(SUMMARIES).where(SUMMARIES.c.hour == hour))
        whole = merge(there, parts)
        values = [
            {"hour": hour, "measure": name, "count": part.count, "summary": part.to_dict()}
            for name, part in whole.items()
        ]
        connection.execute(insert(SUMMARIES), values)


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Divide into what every database takes as parameters of a statement."""
    for begin in range(0, len(ids), 900):
        yield ids[begin : begin + 900]


def _told(row: RowMapping) -> dict[str, Any]:
    """Return what is summed up of a row: its measures, its route and the versions of its models."""
    versions = {f"{task}_version": thread.get("version") for task, thread in row["models"].items()}
    return {**row["measures"], **versions, "route": row["route"]}


@dataclass(frozen=True, eq=False)
class Summary:
    """A measure over an hour's rows.

    Parameters
    ----------
    rows
        All of the hour.
    numbers
        How many of them had a number.
    mean
        Of the numbers.
    quantiles
        Of the numbers, at `QUANTILES`, linear between values; shape (11,), NaN without numbers.
    names
        How often each name, or true and false, came.
    """

    rows: int
    numbers: int
    mean: float
    quantiles: NDArray[np.float64]
    names: Counter[str]

    @property
    def count(self) -> int:
        """How many rows had the measure."""
        return self.numbers + self.names.total()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: "rows", "missing", then "numbers", "mean", "quantiles", or "names", or both."""
        told: dict[str, Any] = {"rows": self.rows, "missing": self.rows - self.count}
        if self.numbers:
            quantiles = dict(zip((f"{q:g}" for q in QUANTILES), self.quantiles.tolist(), strict=True))
            told |= {"numbers": self.numbers, "mean": self.mean, "quantiles": quantiles}
        if self.names:
            told["names"] = dict(self.names.most_common())
        return told

    @classmethod
    def read(cls, count: int, told: Mapping[str, Any]) -> Summary:
        """Undo `to_dict`."""
        names = Counter(told.get("names", {}))
        quantiles = told.get("quantiles") or dict.fromkeys(range(len(QUANTILES)), np.nan)
        return cls(
            rows=told["rows"],
            numbers=count - names.total(),
            mean=told.get("mean", np.nan),
            quantiles=np.array(list(quantiles.values()), dtype=np.float64),
            names=names,
        )


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Summary]:
    """Return the summary of each measure that any row has; what is None, NaN or infinite is missing."""
    numbers: dict[str, list[float]] = {}
    names: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, bool | str):
                names.setdefault(name, Counter())[str(value).lower() if isinstance(value, bool) else value] += 1
            elif value is not None and math.isfinite(value):
                numbers.setdefault(name, []).append(value)
    return {
        name: _summary(len(rows), np.array(numbers.get(name, []), dtype=np.float64), names.get(name, Counter()))
        for name in sorted(numbers.keys() | names.keys())
    }


def _summary(rows: int, values: NDArray[np.float64], names: Counter[str]) -> Summary:
    some = values.size > 0
    quantiles = np.quantile(values, QUANTILES) if some else np.full(len(QUANTILES), np.nan)
    return Summary(rows, values.size, float(values.mean()) if some else np.nan, quantiles, _bounded(names))


def _bounded(names: Counter[str]) -> Counter[str]:
    kept = Counter(dict(names.most_common(_MOST_NAMES)))
    if others := names.total() - kept.total():
        kept[_OTHERS] += others
    return kept


def merge(one: Mapping[str, Summary], other: Mapping[str, Summary]) -> dict[str, Summary]:
    """Return the summaries of two parts of an hour together; all is exact but the inner quantiles.

    Those are the quantiles of the mixture of the two distributions, each taken as linear between its own.
    """
    if not one or not other:
        return dict(one or other)
    rows = [max(part.rows for part in parts.values()) for parts in (one, other)]
    return {
        name: _merged([parts.get(name) for parts in (one, other)], sum(rows))
        for name in sorted(one.keys() | other.keys())
    }


def _merged(parts: Sequence[Summary | None], rows: int) -> Summary:
    there = [part for part in parts if part is not None]
    names = _bounded(sum((part.names for part in there), Counter()))
    counted = [part for part in there if part.numbers]
    if not counted:
        return Summary(rows, 0, np.nan, np.full(len(QUANTILES), np.nan), names)
    weights = np.array([part.numbers for part in counted], dtype=np.float64)
    weights /= weights.sum()
    mean = float(sum(weight * part.mean for weight, part in zip(weights, counted, strict=True)))
    quantiles = counted[0].quantiles if len(counted) == 1 else _mixed(counted, weights)
    return Summary(rows, sum(part.numbers for part in counted), mean, quantiles, names)


def _mixed(parts: Sequence[Summary], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.unique(np.concatenate([part.quantiles for part in parts]))
    shares = sum(weight * _share_up_to(values, part.quantiles) for weight, part in zip(weights, parts, strict=True))
    quantiles: NDArray[np.float64] = np.interp(QUANTILES, shares, values)
    quantiles[[0, -1]] = values[[0, -1]]
    return quantiles


def _share_up_to(values: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cumulative distribution at values; of quantiles that are the same, the greatest counts."""
    steps, last = np.unique(quantiles[::-1], return_index=True)
    share: NDArray[np.float64] = np.interp(values, steps, np.array(QUANTILES)[::-1][last], left=0.0, right=1.0)
    return share


def _due(settings: RetentionSettings, now: float) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield what goes of each table; corrections never do."""
    yield PREDICTIONS, and_(PREDICTIONS.c.measures.is_(None), PREDICTIONS.c.at < now - settings.keep_threads_d * _DAY_S)
    yield SUMMARIES, SUMMARIES.c.hour < now - settings.keep_summaries_d * _DAY_S
    history = now - settings.keep_history_d * _DAY_S
    # The last check is what rules judge by.
    yield CHECKS, and_(CHECKS.c.at < history, CHECKS.c.id < select(func.max(CHECKS.c.id)).scalar_subquery())
    yield (
        DELIVERIES,
        and_(
            DELIVERIES.c.created < history, or_(DELIVERIES.c.delivered.is_not(None), DELIVERIES.c.failed.is_not(None))
        ),
    )
    yield ALERTS, ALERTS.c.closed < history


def _remove_batch(store: MonitoringStore, table: Table, condition: ColumnElement[bool], most: int) -> int:
    key: Column[Any] = table.c.hour if table is SUMMARIES else table.c.id
    with store.begin() as connection:
        keys = [row[0] for row in connection.execute(select(key).distinct().where(condition).order_by(key).limit(most))]
    removed = 0
    with store.begin() as connection:
        for some in _pieces(keys):
            removed += connection.execute(delete(table).where(key.in_(some), condition)).rowcount
    return removed


def _remove_beyond(store: MonitoringStore, settings: RetentionSettings) -> int:
    """Remove the oldest threads beyond the most; return how many, up to a batch."""
    thread = PREDICTIONS.c.measures.is_(None)
    with store.begin() as connection:
        over = connection.execute(select(func.count()).select_from(PREDICTIONS)).scalar_one() - settings.max_threads
    if over <= 0:
        return 0
    with store.begin() as connection:
        oldest = select(PREDICTIONS.c.id).where(thread).order_by(PREDICTIONS.c.at)
        ids = [row[0] for row in connection.execute(oldest.limit(min(over, settings.batch_rows)))]
        return sum(
            connection.execute(delete(PREDICTIONS).where(PREDICTIONS.c.id.in_(some), thread)).rowcount
            for some in _pieces(ids)
        )


def _give_back(store: MonitoringStore, stopped: Callable[[], bool]) -> None:
    """Give the free pages of an SQLite file back, some at a time; PostgreSQL's autovacuum sees to its own."""
    if store.engine.dialect.name != "sqlite":
        return
    while not stopped():
        with store.asked(), store.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None  # noqa: S101 (it is connected)
            (free,) = connection.exec_driver_sql("PRAGMA freelist_count").one()
            connection.rollback()
            # A script: the PRAGMA works in steps that no rows come of, and execute takes but the first.
            raw.cursor().executescript(f"PRAGMA incremental_vacuum({_PAGES}); PRAGMA wal_checkpoint(PASSIVE);")
            (left,) = connection.exec_driver_sql("PRAGMA freelist_count").one()
        if left == 0 or left >= free:
            return
