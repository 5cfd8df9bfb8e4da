"""What is kept of engines outside: how often each was written to, what has been sent to it, what is to be
erased."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)
INDEXES = (
    ("ix_outbox_dead", ["seq"], "state = 'dead'"),
    ("ix_outbox_erasing", ["user_id", "target", "seq"], "kind = 'erase' AND state = 'queued'"),
)


def upgrade() -> None:
    op.create_table(
        "engine_generations",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "engine", name=op.f("pk_engine_generations")),
    )
    op.create_table(
        "engine_writes",
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("receipt", sa.Text()),
        sa.Column("begun_at", moment, nullable=False),
        sa.Column("done_at", moment),
        sa.PrimaryKeyConstraint("turn_id", "engine", name=op.f("pk_engine_writes")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_engine_writes_user_id"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_engine_writes_user", "engine_writes", ["user_id", "engine"])
    op.add_column("users", sa.Column("erased_at", moment))
    op.add_column("outbox", sa.Column("kind", sa.Text(), nullable=False, server_default=sa.text("'write'")))
    for name, columns, words in INDEXES:
        where = sa.text(words)
        op.create_index(name, "outbox", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in INDEXES:
        op.drop_index(name, "outbox")
    op.drop_column("outbox", "kind")
    op.drop_column("users", "erased_at")
    op.drop_table("engine_writes")
    op.drop_table("engine_generations")
