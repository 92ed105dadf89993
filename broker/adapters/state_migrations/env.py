"""What alembic runs for every migration: on the connection it was given, in the transaction that is open there."""

from alembic import context

from broker.adapters.state_tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
