"""Keys, tokens, requests that may be repeated, signals; more columns of users and sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

json = sa.JSON().with_variant(JSONB(), "postgresql")
moment = sa.DateTime(timezone=True)
TABLES = (
    "api_keys",
    "refresh_tokens",
    "revoked_tokens",
    "signing_keys",
    "turn_requests",
    "pending_calls",
    "signals",
)


def upgrade() -> None:
    for column in _of_users():
        op.add_column("users", column)
    op.add_column("sessions", sa.Column("archived_at", moment))
    _keys_and_tokens()
    _requests()
    op.create_table(
        "signals",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_signals")),
    )


def _of_users() -> list[sa.Column[object]]:
    return [
        sa.Column("display_name", sa.Text()),
        sa.Column("profile", json, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("preferences", json, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("totp_secret", sa.Text()),
        sa.Column("totp_since", moment),
        sa.Column("totp_step", sa.BigInteger()),
        sa.Column("tokens_since", moment),
        sa.Column("last_login_at", moment),
    ]


def _keys_and_tokens() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("scopes", json, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("last_used_at", moment),
        sa.Column("revoked_at", moment),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    op.create_table(
        "refresh_tokens",
        sa.Column("jti", sa.Uuid(), nullable=False),
        sa.Column("family", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("used_at", moment),
        sa.Column("revoked_at", moment),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_refresh_tokens")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_refresh_tokens_user_id")),
    )
    for column in ("family", "user_id", "expires_at"):
        op.create_index(f"ix_refresh_tokens_{column}", "refresh_tokens", [column])
    op.create_table(
        "revoked_tokens",
        sa.Column("jti", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("revoked_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_revoked_tokens")),
    )
    op.create_index("ix_revoked_tokens_expires_at", "revoked_tokens", ["expires_at"])
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )


def _requests() -> None:
    op.create_table(
        "turn_requests",
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("claimed", sa.Boolean(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reply", json),
        sa.Column("leased_until", moment),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("turn_id", name=op.f("pk_turn_requests")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_turn_requests_user_id")),
        sa.CheckConstraint(
            "state IN ('running', 'complete', 'interrupted', 'failed')", name=op.f("ck_turn_requests_state")
        ),
    )
    op.create_index("ix_turn_requests_created_at", "turn_requests", ["created_at"])
    op.create_index("ix_turn_requests_key", "turn_requests", ["user_id", "key", "created_at"])
    op.create_index(
        "ix_turn_requests_claimed",
        "turn_requests",
        ["user_id", "key"],
        unique=True,
        sqlite_where=sa.text("claimed"),
        postgresql_where=sa.text("claimed"),
    )
    op.create_table(
        "pending_calls",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("messages", json, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "call_id", name=op.f("pk_pending_calls")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_pending_calls_user_id")),
    )
    op.create_index("ix_pending_calls_created_at", "pending_calls", ["created_at"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("archived_at")
    with op.batch_alter_table("users") as users:
        for column in _of_users():
            users.drop_column(column.name)
