"""Calls that change something, kept before they are made; which of several people spoke."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("messages", sa.Column("name", sa.Text()))
    op.create_table(
        "tool_effects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("request_key", sa.Text()),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_effects")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tool_effects_user_id")),
    )
    op.create_index("ix_tool_effects_created_at", "tool_effects", ["created_at"])
    op.create_index("ix_tool_effects_request", "tool_effects", ["user_id", "request_key"])


def downgrade() -> None:
    op.drop_table("tool_effects")
    with op.batch_alter_table("messages") as messages:
        messages.drop_column("name")
