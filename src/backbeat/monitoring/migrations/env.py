"""Alembic's way into the database: a connection that the store hands over (`backbeat.monitoring.store`)."""

from alembic import context

from backbeat.monitoring.tables import META

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=META,
    # Tables of others may lie in the same database.
    version_table="monitoring_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
