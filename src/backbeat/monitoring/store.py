"""The database of monitoring: predictions, corrections, checks, alerts. SQLite by default, PostgreSQL by its URL.

Whoever opens it brings its tables to what this version of the code knows (Alembic, in `migrations/`), one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from backbeat.database import GuardedDatabase, cause_of, migrate, open_database, wait_alone
from backbeat.errors import ConfigError, MonitoringError
from backbeat.monitoring.rows import Row
from backbeat.monitoring.tables import ALERTS, CHECKS, DELIVERIES, FULL, PREDICTIONS

#: Embeddings are kept in half precision: drift is looked for in their distribution, not in their last digits.
_EMBEDDING = np.float16
#: The file, where it is SQLite in a service's folder of state.
DATABASE = "monitoring.db"
_MIGRATIONS = Path(__file__).resolve().parent / "migrations"
#: Of PostgreSQL's advisory lock: any number that nobody else uses.
_LOCK = 7_391_201


class MonitoringStore(GuardedDatabase):
    """What is known of what was served.

    Parameters
    ----------
    url
        As SQLAlchemy has it: "sqlite:////var/lib/backbeat/monitoring.db", "postgresql+psycopg://...".

    Raises
    ------
    ConfigError
        If the URL is none, its driver is missing, or the tables are of a later version than this code.
    MonitoringError
        If the database is away.
    """

    called, away = "the monitoring database", MonitoringError

    def __init__(self, url: str) -> None:
        try:
            self.engine = open_database(url)
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(f"the monitoring database cannot be opened: {cause_of(error)}") from None
        self.url = url
        try:
            with self.asked():
                migrate(self.engine, _MIGRATIONS, "monitoring_version", _LOCK, "the monitoring database")
        except BaseException:
            self.close()
            raise

    @classmethod
    def at(cls, folder: Path) -> MonitoringStore:
        """Open the SQLite database of a folder, which is made where there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{(folder / DATABASE).absolute()}")

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """Give a transaction that no other of this kind runs beside, in whatever process."""
        with self.asked(), self.engine.begin() as connection:
            wait_alone(connection, _LOCK)
            yield connection

    def add(self, rows: Sequence[Row]) -> None:
        """Keep predictions."""
        values = [
            {
                "at": row.at,
                "request_id": row.request_id,
                "item": row.item,
                "route": row.route,
                "sha256": row.sha256,
                "models": {task: dict(thread) for task, thread in row.models.items()},
                "measures": {name: _plain(value) for name, value in row.measures.items()},
                "answer": dict(row.answer),
                "embedding": None if row.embedding is None else row.embedding.astype(_EMBEDDING).tobytes(),
            }
            for row in rows
        ]
        if values:
            with self.begin() as connection:
                connection.execute(insert(PREDICTIONS), values)

    def latest(self, most: int, *, since: float = 0.0) -> list[Row]:
        """Return the latest predictions that are not compacted, oldest first; none before `since`."""
        asked = select(PREDICTIONS).where(FULL, PREDICTIONS.c.at >= since).order_by(PREDICTIONS.c.id.desc()).limit(most)
        with self.begin() as connection:
            return [_row(found) for found in connection.execute(asked).mappings()][::-1]

    def of_request(self, request_id: str) -> list[Row]:
        """Return the predictions of a request, in the order of its files; of those compacted only the thread."""
        asked = select(PREDICTIONS).where(PREDICTIONS.c.request_id == request_id)
        with self.begin() as connection:
            found = connection.execute(asked.order_by(PREDICTIONS.c.at, PREDICTIONS.c.item)).mappings()
            return [_row(row) for row in found]

    def count(self, *, after: int = 0) -> tuple[int, int]:
        """Return how many predictions came after the one of a number, and the number of the last."""
        asked = select(func.count().label("rows_"), func.max(PREDICTIONS.c.id).label("last"))
        with self.begin() as connection:
            found = connection.execute(asked.where(PREDICTIONS.c.id > after)).one()
        return int(found.rows_), int(found.last or after)

    def since(self, at: float) -> tuple[int, float | None]:
        """Return how many predictions came since a time, and when the newest of all came."""
        counted = select(func.count()).select_from(PREDICTIONS).where(PREDICTIONS.c.at >= at)
        newest = select(func.max(PREDICTIONS.c.at))
        with self.begin() as connection:
            return int(connection.execute(counted).scalar_one()), connection.execute(newest).scalar()

    def alerts(self, most: int = 100, *, open_only: bool = False) -> list[dict[str, Any]]:
        """Return the latest alerts, the latest first, each with its "deliveries": target, attempts, times, failure."""
        asked = select(ALERTS).order_by(ALERTS.c.opened.desc(), ALERTS.c.id).limit(most)
        if open_only:
            asked = asked.where(ALERTS.c.closed.is_(None))
        with self.begin() as connection:
            found = {row["id"]: {**row, "deliveries": []} for row in connection.execute(asked).mappings()}
            sent = select(DELIVERIES).where(DELIVERIES.c.alert.in_(list(found))).order_by(DELIVERIES.c.created)
            for row in connection.execute(sent).mappings():
                told = ("target", "created", "attempts", "delivered", "failed")
                found[row["alert"]]["deliveries"].append({name: row[name] for name in told})
        return list(found.values())

    def add_check(self, verdict: dict[str, Any]) -> None:
        """Keep what a check for drift found: its "rows", its "drift" (None where nothing was judged), and the rest."""
        values = {"at": time.time(), "rows": verdict["rows"], "drift": verdict["drift"], "verdict": verdict}
        with self.begin() as connection:
            connection.execute(insert(CHECKS).values(values))

    def checks(self, most: int = 30) -> list[dict[str, Any]]:
        """Return the latest checks for drift, the latest first: "at" and "verdict"."""
        asked = select(CHECKS.c.at, CHECKS.c.verdict).order_by(CHECKS.c.id.desc()).limit(most)
        with self.begin() as connection:
            return [dict(found) for found in connection.execute(asked).mappings()]


def _row(found: RowMapping) -> Row:
    embedding = found["embedding"]
    return Row(
        request_id=found["request_id"],
        item=found["item"],
        route=found["route"],
        sha256=found["sha256"],
        models=found["models"],
        measures=found["measures"] or {},
        answer=found["answer"] or {},
        embedding=None if embedding is None else np.frombuffer(embedding, _EMBEDDING).astype(np.float32),
        at=found["at"],
    )


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return value.item() if isinstance(value, np.generic) else value
