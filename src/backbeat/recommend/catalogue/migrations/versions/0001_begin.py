"""The first tables."""

import sqlalchemy as sa
from alembic import op

from backbeat.recommend.catalogue.pgvector import vector_type

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    """Go on to this."""
    op.create_table(
        "catalogue_items",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("artist", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("tempo_bpm", sa.Float()),
        sa.Column("energy", sa.Float()),
        sa.Column("loudness_lufs", sa.Float()),
        sa.Column("pulse_clarity", sa.Float()),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("key_confidence", sa.Float(), nullable=False),
        sa.Column("beats_per_bar", sa.Integer(), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.Column("changed", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_catalogue_items_sha256", "catalogue_items", ["sha256"])
    op.create_index("ix_catalogue_items_changed", "catalogue_items", ["changed"])
    op.create_index("ix_catalogue_items_kind_id", "catalogue_items", ["kind", "id"])
    op.create_table(
        "catalogue_descriptors",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("descriptors", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "catalogue_vectors",
        sa.Column("space", sa.String(64), nullable=False),
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("vector", vector_type(op.get_bind()), nullable=False),
        sa.Column("changed", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("space", "number"),
    )
    op.create_index("ix_catalogue_vectors_number", "catalogue_vectors", ["number"])
    op.create_index("ix_catalogue_vectors_changed", "catalogue_vectors", ["changed"])
    op.create_table(
        "catalogue_fingerprints",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("changed", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_catalogue_fingerprints_changed", "catalogue_fingerprints", ["changed"])
    op.create_table(
        "catalogue_interactions",
        sa.Column("user", _ID, nullable=False),
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("told_as", _ID, nullable=True),
        sa.PrimaryKeyConstraint("user", "number", "kind", "at"),
        sa.UniqueConstraint("user", "told_as", name="uq_catalogue_interactions_told_as"),
    )
    op.create_index("ix_catalogue_interactions_number", "catalogue_interactions", ["number"])
    op.create_index("ix_catalogue_interactions_at", "catalogue_interactions", ["at"])
    op.create_table(
        "catalogue_factors",
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "catalogue_removed",
        sa.Column("revision", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("revision", "number"),
    )
    state = op.create_table(
        "catalogue_state",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    names = ("revision", "items", "interactions", "factors", "forgotten", "numbers")
    op.bulk_insert(state, [{"name": name, "number": 0, "text": ""} for name in names])


def downgrade() -> None:
    """Go back."""
    names = ("items", "descriptors", "vectors", "fingerprints", "interactions", "factors", "removed", "state")
    for name in names:
        op.drop_table(f"catalogue_{name}")
