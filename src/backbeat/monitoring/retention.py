"""What is kept, and for how long: rows become summaries of their hours, then threads to their models, then nothing.

A batch of rows of an hour, its part of the summary and what is left of it are one transaction: a process that is killed
leaves no row counted twice and none uncounted, and the next goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, RowMapping, Table, and_, delete, func, insert, null, or_, select

from backbeat.errors import ConfigError
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.summaries import Summary, merge, summarise
from backbeat.monitoring.tables import ALERTS, CHECKS, DELIVERIES, FULL, PREDICTIONS, SUMMARIES
from backbeat.settings import above_zero

_DAY_S, _HOUR_S = 86400.0, 3600.0
#: Pages of an SQLite file that are given back at once.
_PAGES = 2000


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
    beyond = select(PREDICTIONS.c.at).where(FULL).order_by(PREDICTIONS.c.at.desc()).offset(settings.max_rows).limit(1)
    with store.begin() as connection:
        last = connection.execute(beyond).scalar()
    old = now - settings.keep_rows_d * _DAY_S
    return old if last is None else max(old, last)


def _compact_batch(store: MonitoringStore, until: float, most: int) -> int:
    """Compact rows of the oldest hour that has any due; return how many."""
    with store.begin() as connection:
        oldest = connection.execute(select(func.min(PREDICTIONS.c.at)).where(FULL)).scalar()
        if oldest is None or oldest > until:
            return 0
        hour = oldest // _HOUR_S * _HOUR_S
        due = and_(FULL, PREDICTIONS.c.at >= hour, PREDICTIONS.c.at < hour + _HOUR_S, PREDICTIONS.c.at <= until)
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
            this = and_(PREDICTIONS.c.id.in_(ids), FULL)
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


def _due(settings: RetentionSettings, now: float) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield what goes of each table; corrections never do."""
    yield PREDICTIONS, and_(~FULL, PREDICTIONS.c.at < now - settings.keep_threads_d * _DAY_S)
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
    with store.begin() as connection:
        over = connection.execute(select(func.count()).select_from(PREDICTIONS)).scalar_one() - settings.max_threads
    if over <= 0:
        return 0
    with store.begin() as connection:
        oldest = select(PREDICTIONS.c.id).where(~FULL).order_by(PREDICTIONS.c.at)
        ids = [row[0] for row in connection.execute(oldest.limit(min(over, settings.batch_rows)))]
        return sum(
            connection.execute(delete(PREDICTIONS).where(PREDICTIONS.c.id.in_(some), ~FULL)).rowcount
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
