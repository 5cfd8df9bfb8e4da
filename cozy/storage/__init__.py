"""The database under the adapters: engine and transactions, tables, the outbox, migrations."""
