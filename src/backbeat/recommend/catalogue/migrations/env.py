"""Alembic's way into the database: a connection that is handed over (`backbeat.database.migrate`)."""

from alembic import context

from backbeat.recommend.catalogue.tables import META

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=META,
    # Tables of others may lie in the same database.
    version_table="catalogue_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
