"""The tables of monitoring; `migrations/` makes them, step by step, in databases that there are.

Their names have a beginning of their own: the database may be that of the jobs or of MLflow as well.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

META = MetaData()
#: SQLite numbers rows by itself only where they are of its own kind of integer.
_Number = BigInteger().with_variant(Integer, "sqlite")

PREDICTIONS = Table(
    "monitoring_predictions",
    META,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("request_id", String(64), nullable=False, index=True),
    Column("item", Integer, nullable=False),
    Column("route", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("models", JSON, nullable=False),
    # Empty once compacted: what is left then is the thread from an answer to its models.
    Column("measures", JSON(none_as_null=True)),
    Column("answer", JSON(none_as_null=True)),
    Column("embedding", LargeBinary),
)
#: Rows that are not compacted: the oldest, and those beyond a number, are found without a look at the others.
FULL = PREDICTIONS.c.measures.is_not(None)
Index("ix_monitoring_predictions_full", PREDICTIONS.c.at, sqlite_where=FULL, postgresql_where=FULL)

#: What compaction leaves of an hour's rows: for each measure its count and quantiles, or how often each name came.
SUMMARIES = Table(
    "monitoring_summaries",
    META,
    Column("hour", Float, primary_key=True),
    Column("measure", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("summary", JSON, nullable=False),
)

FEEDBACK = Table(
    "monitoring_feedback",
    META,
    Column("id", String(32), primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("request_id", String(64), nullable=False, index=True),
    Column("item", Integer, nullable=False),
    Column("task", String(16), nullable=False),
    # What is right: {"label": "jazz"}, or {"beats": [[time_s, position or null], ...]}.
    Column("truth", JSON, nullable=False),
    # What the model had said, as the row has it.
    Column("answer", JSON, nullable=False),
    Column("author", String(64), nullable=False),
    Column("licence", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("audio", String(255), nullable=False),
    # The version of the corpus that it entered; null until then.
    Column("corpus", String(64), index=True),
)

#: What each check for drift found.
CHECKS = Table(
    "monitoring_checks",
    META,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("rows", Integer, nullable=False),
    Column("drift", Boolean),
    Column("verdict", JSON, nullable=False),
)

ALERTS = Table(
    "monitoring_alerts",
    META,
    Column("id", String(32), primary_key=True),
    Column("rule", String(64), nullable=False, index=True),
    Column("severity", String(16), nullable=False),
    Column("opened", Float, nullable=False, index=True),
    Column("closed", Float),
    Column("value", Float),
    Column("message", Text, nullable=False),
    Column("silenced", Boolean, nullable=False),
)

#: What rules remember between looks: for how many in a row they have been broken, or kept.
RULES = Table(
    "monitoring_rules",
    META,
    Column("rule", String(64), primary_key=True),
    Column("state", JSON, nullable=False),
)

#: Messages to be delivered: written with the alert, so that none is lost with a process.
DELIVERIES = Table(
    "monitoring_deliveries",
    META,
    Column("id", String(32), primary_key=True),
    Column("alert", String(32), nullable=False, index=True),
    Column("target", String(64), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Float, nullable=False, index=True),
    # Why the last try failed, and once more where it was given up.
    Column("cause", Text),
    Column("delivered", Float),
    Column("failed", Text),
)
