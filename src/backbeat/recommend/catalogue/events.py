"""What listeners did, in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from backbeat.errors import UnknownItemError
from backbeat.recommend.catalogue.database import CatalogueDatabase
from backbeat.recommend.catalogue.rows import numbers_of
from backbeat.recommend.catalogue.tables import INTERACTIONS, ITEMS
from backbeat.recommend.interactions import Interaction, InteractionTable, interaction_table


class Events:
    """The interactions of a catalogue's database."""

    def __init__(self, database: CatalogueDatabase) -> None:
        self._database = database

    def add(self, rows: Sequence[Interaction]) -> int:
        """Keep interactions, all or none; return how many were new. UnknownItemError where an item is not there."""
        if not rows:
            return 0
        with self._database.writing("interactions") as (connection, _):
            numbers = numbers_of(connection, {row.item for row in rows})
            for row in rows:
                if row.item not in numbers:
                    raise UnknownItemError(f"there is no item {row.item!r} in the catalogue")
            insert = sqlite.insert if self._database.sqlite else postgresql.insert
            values = [
                {
                    "user": row.user,
                    "number": numbers[row.item],
                    "kind": row.kind,
                    "at": row.at,
                    "told_as": row.id or None,
                }
                for row in rows
            ]
            written = insert(INTERACTIONS).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
            return connection.execute(written, values).rowcount

    def table(self, user: str | None = None, since: float | None = None) -> InteractionTable:
        """Return interactions in the order of their times: all, or a user's, or those from a time on."""
        asked = select(INTERACTIONS.c.user, ITEMS.c.id, INTERACTIONS.c.kind, INTERACTIONS.c.at).join(
            ITEMS, ITEMS.c.number == INTERACTIONS.c.number
        )
        if user is not None:
            asked = asked.where(INTERACTIONS.c.user == user)
        if since is not None:
            asked = asked.where(INTERACTIONS.c.at >= since)
        with self._database.begin() as connection:
            rows: Any = connection.execute(asked).all()
        return interaction_table(rows)

    def users(self) -> tuple[str, ...]:
        """Return who did something, in order."""
        with self._database.begin() as connection:
            found = connection.execute(select(INTERACTIONS.c.user).distinct()).scalars()
            return tuple(sorted(found))

    def forget(self, user: str) -> dict[str, int]:
        """Remove what a user did; return how many rows. UnknownItemError where there is nothing of theirs."""
        with self._database.writing("interactions") as (connection, _):
            gone = connection.execute(delete(INTERACTIONS).where(INTERACTIONS.c.user == user)).rowcount
            if not gone:
                raise UnknownItemError(f"there is no user {user!r} in the catalogue")
        return {"interactions": gone}
