"""The database of a catalogue: transactions that count what was written, and errors in the user's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, event, select, update
from sqlalchemy.exc import SQLAlchemyError

from backbeat.database import GuardedDatabase, cause_of, migrate, open_database
from backbeat.errors import CatalogueError, ConfigError
from backbeat.recommend.catalogue.pgvector import vectors_table
from backbeat.recommend.catalogue.tables import META, REMOVED, STATE

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"
#: Of PostgreSQL's advisory lock: any number that nobody else uses.
_LOCK = 7_391_203


@dataclass(frozen=True)
class State:
    """How far a catalogue is.

    Parameters
    ----------
    revision
        Counts what was written.
    items, interactions, factors
        The revision at which something of theirs changed last.
    forgotten
        Up to which revision it is not known any more what was removed: who last looked before must load all anew.
    """

    revision: int
    items: int
    interactions: int
    factors: int
    forgotten: int


class CatalogueDatabase(GuardedDatabase):
    """Transactions over the tables of a catalogue.

    Parameters
    ----------
    url
        As SQLAlchemy has it.

    Raises
    ------
    ConfigError
        If the URL is none, its driver is missing, or the tables are of a later version than this code.
    CatalogueError
        If the database is away.
    """

    called, away = "the catalogue's database", CatalogueError

    def __init__(self, url: str) -> None:
        try:
            self.engine = open_database(url)
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(f"the catalogue's database cannot be opened: {cause_of(error)}") from None
        if self.sqlite:
            event.listen(self.engine, "connect", _leave_nothing)
        try:
            with self.asked():
                migrate(self.engine, _MIGRATIONS, "catalogue_version", _LOCK, "the catalogue's database")
                with self.engine.connect() as connection:
                    self.vectors = vectors_table(connection)
        except BaseException:
            self.close()
            raise

    @property
    def sqlite(self) -> bool:
        """Whether it is a file."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self, *topics: str) -> Iterator[tuple[Connection, int]]:
        """Give a transaction to write in and its revision; those of others wait until it ends.

        So revisions are seen in their order: who has seen one has seen all before it.

        Parameters
        ----------
        topics
            What changes: "items", "interactions", "factors", or "forgotten" where all is to be loaded anew.
        """
        with self.begin() as connection:
            # Before anything is read: the row is the lock.
            revision = self.count(connection, "revision", 1)
            if topics:
                connection.execute(update(STATE).where(STATE.c.name.in_(topics)).values(number=revision))
            yield connection, revision

    def settle(self) -> None:
        """Let SQLite empty its journal, which has pages as they were before a deletion, unless others read there."""
        if self.sqlite:
            with self.asked(), self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def vacuum(self) -> None:
        """Write the tables anew without what was deleted, and forget what was removed: who looked before loads all."""
        with self.writing("forgotten") as (connection, _):
            connection.execute(delete(REMOVED))
        with self.asked(), self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for target in [""] if self.sqlite else [f" ANALYZE {name}" for name in META.tables]:
                connection.exec_driver_sql(f"VACUUM{target}")
        self.settle()

    @staticmethod
    def count(connection: Connection, name: str, by: int) -> int:
        """Raise a number of the state; return what it is then."""
        raised = update(STATE).where(STATE.c.name == name).values(number=STATE.c.number + by)
        return int(connection.execute(raised.returning(STATE.c.number)).scalar_one())

    def state(self) -> State:
        """Return how far the catalogue is."""
        with self.begin() as connection:
            found = {row.name: int(row.number) for row in connection.execute(_STATE)}
        return State(**{name: found[name] for name in State.__dataclass_fields__})


_STATE = select(STATE.c.name, STATE.c.number)


def _leave_nothing(connection: Any, _: Any) -> None:
    """Let SQLite write zeros over what is deleted."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
