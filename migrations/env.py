"""Runs the migrations on the connection that `cozy.storage.migrate` holds."""

from alembic import context

from cozy.storage.migrate import model_metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=model_metadata(),
    render_as_batch=True,
    compare_type=True,
    # the caller's transaction is the only one: on SQLite too a failed migration leaves nothing behind
    transactional_ddl=True,
)
context.run_migrations()
