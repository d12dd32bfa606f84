"""Vectors in PostgreSQL's extension pgvector, where there is one: other programs can then search them in SQL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, LargeBinary, MetaData, Table, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from backbeat.errors import ConfigError
from backbeat.recommend.catalogue.tables import VECTORS

#: How vectors lie in plain bytes.
STORED = np.dtype("<f4")


def vector_type(connection: Connection) -> TypeEngine[Any]:
    """Return the type of a new column of vectors: pgvector's where its extension can be had, which is then created."""
    if connection.dialect.name != "postgresql":
        return LargeBinary()
    if connection.execute(text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")).first() is None:
        return LargeBinary()
    try:
        with connection.begin_nested():
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    except SQLAlchemyError:
        # Who may not create it has a database that works as well, with plain bytes.
        return LargeBinary()
    return _pgvector()


def vectors_table(connection: Connection) -> Table:
    """Return the table of vectors as it is in a database."""
    if connection.dialect.name != "postgresql":
        return VECTORS
    known = connection.execute(
        text(
            "SELECT udt_name FROM information_schema.columns WHERE table_schema = current_schema() "
            "AND table_name = 'catalogue_vectors' AND column_name = 'vector'"
        )
    ).scalar()
    if known != "vector":
        return VECTORS
    table = VECTORS.to_metadata(MetaData())
    table.c.vector.type = _pgvector()
    return table


def stored(table: Table, vector: NDArray[np.float32]) -> Any:
    """Return a vector as a table of vectors takes it."""
    return vector.astype(STORED).tobytes() if isinstance(table.c.vector.type, LargeBinary) else vector


def matrix_of(values: list[Any]) -> NDArray[np.float32]:
    """Return the vectors that a table gave as a matrix (vectors, numbers), float32; (0, 0) where there are none."""
    if not values:
        return np.zeros((0, 0), dtype=np.float32)
    if isinstance(values[0], bytes | memoryview):
        return np.frombuffer(b"".join(values), STORED).reshape(len(values), -1).astype(np.float32)
    return np.stack([np.asarray(value, dtype=np.float32) for value in values])


def _pgvector() -> TypeEngine[Any]:
    try:
        from pgvector.sqlalchemy import VECTOR
    except ImportError:
        raise ConfigError("vectors in PostgreSQL need the package pgvector: install backbeat[postgres]") from None
    made: TypeEngine[Any] = VECTOR()
    return made
