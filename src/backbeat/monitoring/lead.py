"""Which of several processes acts: the one that holds a lock, which its end lets go, however it ends."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from backbeat.monitoring.store import MonitoringStore

#: Of PostgreSQL's advisory lock: any number that nobody else uses.
_LOCK = 7_391_202


class Lead:
    """The right to act for a database: an advisory lock of a session (PostgreSQL), or a lock file beside it (SQLite).

    A pooler that shares sessions between clients (PgBouncer in transaction mode) would break the former.

    Parameters
    ----------
    store
        Whose.
    """

    def __init__(self, store: MonitoringStore) -> None:
        self._store = store
        self._session: Connection | None = None
        path = store.engine.url.database
        self._file = None if _is_server(store) or path is None else FileLock(Path(f"{path}.monitor.lock"))

    def held(self) -> bool:
        """Tell whether the right is ours, after a try to get it.

        Raises
        ------
        MonitoringError
            If the database is away; the right is lost with the session.
        """
        if self._file is not None:
            try:
                # Of one that is held already it would count how often.
                if not self._file.is_locked:
                    self._file.acquire(timeout=0)
            except Timeout:
                return False
            return True
        return not _is_server(self._store) or self._session_held()

    def _session_held(self) -> bool:
        with self._store.asked():
            try:
                if self._session is not None:
                    self._session.execute(text("SELECT 1"))
                    return True
                session = self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                if session.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}).scalar():
                    self._session = session
                    return True
                session.close()
            except SQLAlchemyError:
                self.let_go()
                raise
        return False

    def let_go(self) -> None:
        """Leave the right to others."""
        if self._file is not None:
            self._file.release()
        if self._session is not None:
            # Back in the pool the session would keep the lock.
            if not self._session.invalidated:
                self._session.detach()
            self._session.close()
            self._session = None


def _is_server(store: MonitoringStore) -> bool:
    return store.engine.dialect.name == "postgresql"
