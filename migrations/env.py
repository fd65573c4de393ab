"""Alembic's environment: runs the migrations on the connection, and in the transaction, that ``dicom_node`` opened.

A migration never imports ``dicom_node.index.tables``: the tables go on changing, a migration does not. To write the
next one, change the tables and run the test of the schema, which prints the operations that are missing, and raise
``dicom_node.index.schema.REVISION``.
"""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    render_as_batch=True,  # SQLite changes a table by making it anew
    transactional_ddl=True,  # SQLite's schema changes do roll back, whatever Alembic takes for granted
)
with context.begin_transaction():
    context.run_migrations()
