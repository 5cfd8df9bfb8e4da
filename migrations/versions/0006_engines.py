"""What is kept of engines outside: how often each was written to, and what has been sent to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)


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


def downgrade() -> None:
    op.drop_table("engine_writes")
    op.drop_table("engine_generations")
