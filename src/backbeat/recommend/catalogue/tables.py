"""The tables of a catalogue; `migrations/` makes them, step by step, in databases that there are.

Rows name an item by its number, which is given once: what is left of an item that was removed is that a number is gone.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

META = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")
#: In the order of their bytes everywhere: that of PostgreSQL depends on its language otherwise.
_Id = String(128).with_variant(String(128, collation="C"), "postgresql")

ITEMS = Table(
    "catalogue_items",
    META,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("id", _Id, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("artist", Text, nullable=False),
    Column("label", Text, nullable=False),
    # Without a slash before it where the catalogue itself keeps the audio.
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("source", Text, nullable=False),
    Column("licence", Text, nullable=False),
    # What tables are made of (`backbeat.recommend.items.row_of`), beside the descriptors, which are ten times as large.
    Column("tempo_bpm", Float),
    Column("energy", Float),
    Column("loudness_lufs", Float),
    Column("pulse_clarity", Float),
    Column("duration_s", Float, nullable=False),
    Column("key", Integer, nullable=False),
    Column("key_confidence", Float, nullable=False),
    Column("beats_per_bar", Integer, nullable=False),
    Column("added_at", Float, nullable=False),
    Column("changed", _Number, nullable=False, index=True),
)
Index("ix_catalogue_items_kind_id", ITEMS.c.kind, ITEMS.c.id)

DESCRIPTORS = Table(
    "catalogue_descriptors",
    META,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("descriptors", JSON, nullable=False),
)

#: Where PostgreSQL has the extension pgvector, `vector` is of its type.
VECTORS = Table(
    "catalogue_vectors",
    META,
    Column("space", String(64), primary_key=True),
    Column("number", _Number, primary_key=True, autoincrement=False, index=True),
    Column("vector", LargeBinary, nullable=False),
    Column("changed", _Number, nullable=False, index=True),
)

FINGERPRINTS = Table(
    "catalogue_fingerprints",
    META,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("changed", _Number, nullable=False, index=True),
)

#: What listeners did. The same twice, as of a request that was sent again, is one row; so is what has one id of theirs.
INTERACTIONS = Table(
    "catalogue_interactions",
    META,
    Column("user", _Id, primary_key=True),
    Column("number", _Number, primary_key=True, autoincrement=False, index=True),
    Column("kind", String(16), primary_key=True),
    Column("at", Float, primary_key=True, index=True),
    Column("told_as", _Id, nullable=True),
    UniqueConstraint("user", "told_as", name="uq_catalogue_interactions_told_as"),
)

#: What recommenders learned of items from interactions.
FACTORS = Table(
    "catalogue_factors",
    META,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("vector", LargeBinary, nullable=False),
)

#: Numbers of items that are gone, or whose rows were all replaced: what others have in memory of them is to go.
REMOVED = Table(
    "catalogue_removed",
    META,
    Column("revision", _Number, primary_key=True, autoincrement=False),
    Column("number", _Number, primary_key=True, autoincrement=False),
)

#: "revision" counts what was written; the others say at which revision something of theirs changed last.
STATE = Table(
    "catalogue_state",
    META,
    Column("name", String(32), primary_key=True),
    Column("number", _Number, nullable=False),
    Column("text", Text, nullable=False),
)

#: The rows of an item, by the name that is told of what was removed.
OF_ITEM = {
    "items": ITEMS,
    "descriptors": DESCRIPTORS,
    "vectors": VECTORS,
    "fingerprints": FINGERPRINTS,
    "interactions": INTERACTIONS,
    "factors": FACTORS,
}
