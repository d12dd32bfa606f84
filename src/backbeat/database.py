"""Databases that several processes share: SQLite set up for that, any other as SQLAlchemy has it."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import Engine, create_engine, event

_PATIENCE_S = 10.0


def open_database(url: str) -> Engine:
    """Return the engine of a database; in SQLite, readers do not wait for a writer, and writers wait their turn.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError, ImportError
        If the URL is none, or its driver is missing.
    """
    engine = create_engine(url, pool_pre_ping=True)
    if url.startswith("sqlite"):
        event.listen(engine, "connect", _for_many_processes)
    return engine


def _for_many_processes(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={1000 * _PATIENCE_S:.0f}")
    # Before anything is in the file, or it is too late: what was removed can be given back (PRAGMA incremental_vacuum).
    cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # Where several open a fresh file at once, SQLite refuses this without waiting: each could wait for another.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    cursor.close()
