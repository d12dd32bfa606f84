"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on to this."""
    op.create_table(
        "monitoring_alerts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("opened", sa.Float(), nullable=False),
        sa.Column("closed", sa.Float(), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("silenced", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("monitoring_alerts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitoring_alerts_opened"), ["opened"], unique=False)
        batch_op.create_index(batch_op.f("ix_monitoring_alerts_rule"), ["rule"], unique=False)

    op.create_table(
        "monitoring_checks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("drift", sa.Boolean(), nullable=True),
        sa.Column("verdict", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("monitoring_checks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitoring_checks_at"), ["at"], unique=False)

    op.create_table(
        "monitoring_deliveries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("alert", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("delivered", sa.Float(), nullable=True),
        sa.Column("failed", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("monitoring_deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitoring_deliveries_alert"), ["alert"], unique=False)
        batch_op.create_index(batch_op.f("ix_monitoring_deliveries_due"), ["due"], unique=False)

    op.create_table(
        "monitoring_feedback",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=16), nullable=False),
        sa.Column("truth", sa.JSON(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("licence", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("audio", sa.String(length=255), nullable=False),
        sa.Column("corpus", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("monitoring_feedback", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitoring_feedback_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_monitoring_feedback_corpus"), ["corpus"], unique=False)
        batch_op.create_index(batch_op.f("ix_monitoring_feedback_request_id"), ["request_id"], unique=False)

    op.create_table(
        "monitoring_predictions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("measures", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("embedding", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("monitoring_predictions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitoring_predictions_at"), ["at"], unique=False)
        batch_op.create_index(
            "ix_monitoring_predictions_full",
            ["at"],
            unique=False,
            sqlite_where=sa.text("measures IS NOT NULL"),
            postgresql_where=sa.text("measures IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_monitoring_predictions_request_id"), ["request_id"], unique=False)

    op.create_table(
        "monitoring_rules",
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("rule"),
    )
    op.create_table(
        "monitoring_summaries",
        sa.Column("hour", sa.Float(), nullable=False),
        sa.Column("measure", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "measure"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("monitoring_summaries")
    op.drop_table("monitoring_rules")
    with op.batch_alter_table("monitoring_predictions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_monitoring_predictions_request_id"))
        batch_op.drop_index("ix_monitoring_predictions_full")
        batch_op.drop_index(batch_op.f("ix_monitoring_predictions_at"))

    op.drop_table("monitoring_predictions")
    with op.batch_alter_table("monitoring_feedback", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_monitoring_feedback_request_id"))
        batch_op.drop_index(batch_op.f("ix_monitoring_feedback_corpus"))
        batch_op.drop_index(batch_op.f("ix_monitoring_feedback_at"))

    op.drop_table("monitoring_feedback")
    with op.batch_alter_table("monitoring_deliveries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_monitoring_deliveries_due"))
        batch_op.drop_index(batch_op.f("ix_monitoring_deliveries_alert"))

    op.drop_table("monitoring_deliveries")
    with op.batch_alter_table("monitoring_checks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_monitoring_checks_at"))

    op.drop_table("monitoring_checks")
    with op.batch_alter_table("monitoring_alerts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_monitoring_alerts_rule"))
        batch_op.drop_index(batch_op.f("ix_monitoring_alerts_opened"))

    op.drop_table("monitoring_alerts")
