"""Databases that several processes share: SQLite set up for that, any other as SQLAlchemy has it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event


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
    # Before anything is in the file, or it is too late: what was removed can be given back (PRAGMA incremental_vacuum).
    cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()
