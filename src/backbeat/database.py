"""Databases that several processes share: SQLite set up for that, any other as SQLAlchemy has it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from backbeat.errors import BackbeatError, ConfigError

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


def migrate(engine: Engine, migrations: Path, version_table: str, lock: int, name: str) -> None:
    """Bring tables to what the code knows (Alembic); others who open the database meanwhile wait.

    Parameters
    ----------
    engine
        Of the database.
    migrations
        The folder of env.py and versions/.
    version_table
        Holds how far the tables are: others' may lie in the same database.
    lock
        As `wait_alone` has it.
    name
        What the database is called where its tables are of a later version than this code (ConfigError).
    """
    # Which parts of it there are, it tells as it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    if _version(engine, version_table) == ScriptDirectory.from_config(config).get_current_head():
        return
    with engine.begin() as connection:
        wait_alone(connection, lock)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigError(f"{name} is not of this version of Backbeat: {cause_of(error)}") from None


class GuardedDatabase:
    """A database whose failures become one kind of error, in the user's words.

    Attributes
    ----------
    called
        What it is called in messages: "the monitoring database".
    away
        The error where it cannot be used.
    engine
        Of the database; subclasses open it.
    """

    called: ClassVar[str]
    away: ClassVar[type[BackbeatError]]
    engine: Engine

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Turn what the database may raise into the error `away`."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self.away(f"{self.called} cannot be used: {cause_of(error)}") from error

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a transaction; the error `away` where the database cannot be used."""
        with self.asked(), self.engine.begin() as connection:
            yield connection


def wait_alone(connection: Connection, lock: int) -> None:
    """Wait until no other transaction that asks so runs; `lock` is PostgreSQL's, any number that nobody else uses."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def cause_of(error: Exception) -> str:
    """Return what a database says is wrong, as one line."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:200]


def _version(engine: Engine, table: str) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table(table):
            return None
        return connection.execute(text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608 (ours, not a user's)


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
