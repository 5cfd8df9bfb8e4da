"""Users and their keys, sessions, messages, outbox and audit trail; `migrations/` follows this file."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
)

from cozy.storage.schema import Json, StoredText, UtcDateTime, Uuid, metadata

_ALIVE = text("deleted_at IS NULL")

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("username", StoredText, nullable=False, unique=True),
    Column("email", StoredText, unique=True),
    Column("password_hash", StoredText),
    Column("role", StoredText, nullable=False),
    Column("status", StoredText, nullable=False),
    Column("display_name", StoredText),
    # what users say of themselves and how they like it: for front ends, Cozy reads none of it
    Column("profile", Json, nullable=False, server_default=text("'{}'")),
    Column("preferences", Json, nullable=False, server_default=text("'{}'")),
    Column("totp_secret", StoredText),
    # confirmed with a first code; before that it is only an offer
    Column("totp_since", UtcDateTime),
    # the last code's time step: a code is taken once
    Column("totp_step", BigInteger),
    # tokens issued earlier are refused: a new password, a closed account
    Column("tokens_since", UtcDateTime),
    Column("last_login_at", UtcDateTime),
    # when all that they had said was erased: what was said before is not kept any more
    Column("erased_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("role IN ('user', 'admin')", name="role"),
    CheckConstraint("status IN ('active', 'disabled')", name="status"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("personality_id", StoredText, nullable=False),
    Column("title", StoredText),
    # of the messages that are alive
    Column("message_count", Integer, nullable=False),
    # of every turn, those that were said again included: they were paid for
    Column("total_tokens", BigInteger, nullable=False),
    # the place of the next message: taken under the row's lock, so that turns never interleave
    Column("next_position", Integer, nullable=False),
    Column("last_message_at", UtcDateTime),
    Column("metadata", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("archived_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    CheckConstraint("message_count >= 0", name="message_count"),
    Index("ix_sessions_alive", "user_id", sqlite_where=_ALIVE, postgresql_where=_ALIVE),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("session_id", Uuid, ForeignKey("sessions.id"), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("turn_id", Uuid, nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("role", StoredText, nullable=False),
    Column("status", StoredText, nullable=False),
    Column("content", StoredText, nullable=False),
    Column("tool_calls", Json),
    Column("tool_call_id", StoredText),
    Column("reasoning", StoredText),
    Column("parts", Json),
    Column("tokens", Integer),
    # which of several people of one role speaks
    Column("name", StoredText),
    Column("metadata", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("deleted_at", UtcDateTime),
    CheckConstraint("role IN ('system', 'user', 'assistant', 'tool')", name="role"),
    CheckConstraint("status IN ('complete', 'interrupted', 'failed')", name="status"),
    # the order of a session, and the way to its last messages
    Index(
        "ix_messages_alive",
        "session_id",
        "position",
        unique=True,
        sqlite_where=_ALIVE,
        postgresql_where=_ALIVE,
    ),
)

_QUEUED, _LEASED, _DONE = text("state = 'queued'"), text("state = 'leased'"), text("state = 'done'")
_DEAD, _ERASING = text("state = 'dead'"), text("kind = 'erase' AND state = 'queued'")

outbox = Table(
    "outbox",
    metadata,
    # the order in which jobs were written; clocks of several replicas do not tell it
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("target", StoredText, nullable=False),
    # `write`: what a turn teaches; `erase`: forget the user
    Column("kind", StoredText, nullable=False, server_default=text("'write'")),
    Column("payload", Json, nullable=False),
    Column("state", StoredText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("leased_until", UtcDateTime),
    Column("last_error", StoredText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("id"),
    CheckConstraint("state IN ('queued', 'leased', 'done', 'dead')", name="state"),
    CheckConstraint("(state = 'leased') = (leased_until IS NOT NULL)", name="lease"),
    # at most one is being done for a user and target, whoever claims at the same moment
    Index(
        "ix_outbox_leased", "user_id", "target", unique=True, sqlite_where=_LEASED, postgresql_where=_LEASED
    ),
    Index("ix_outbox_queued", "seq", sqlite_where=_QUEUED, postgresql_where=_QUEUED),
    Index("ix_outbox_earlier", "user_id", "target", "seq", sqlite_where=_QUEUED, postgresql_where=_QUEUED),
    Index("ix_outbox_done", "finished_at", sqlite_where=_DONE, postgresql_where=_DONE),
    Index("ix_outbox_dead", "seq", sqlite_where=_DEAD, postgresql_where=_DEAD),
    Index("ix_outbox_erasing", "user_id", "target", "seq", sqlite_where=_ERASING, postgresql_where=_ERASING),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("request_id", StoredText),
    # no foreign keys: what happened is told even of users and sessions that are gone
    Column("user_id", Uuid),
    Column("session_id", Uuid),
    Column("personality_id", StoredText),
    Column("event_type", StoredText, nullable=False),
    Column("level", StoredText, nullable=False),
    Column("payload", Json, nullable=False),
    Column("previous_hash", StoredText),
    Column("signature", StoredText),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    CheckConstraint("level IN ('debug', 'info', 'warning', 'error', 'critical')", name="level"),
    Index("ix_audit_events_user_id", "user_id", "created_at"),
    Index("ix_audit_events_request_id", "request_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False, index=True),
    Column("name", StoredText, nullable=False),
    # the first characters, for a person to tell keys apart
    Column("prefix", StoredText, nullable=False),
    # SHA-256 in hex: a key is 256 random bits, so nothing slower is needed
    Column("hash", StoredText, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("jti", Uuid, primary_key=True),
    # all that came from one login: where one is used twice, the whole family is revoked
    Column("family", Uuid, nullable=False, index=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Column("used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    # of an access token, or of a family: then all access tokens of that login
    Column("jti", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("revoked_at", UtcDateTime, nullable=False),
    # when the tokens would have ended anyway
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", StoredText, primary_key=True),
    Column("secret", StoredText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

turn_requests = Table(
    "turn_requests",
    metadata,
    Column("turn_id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("session_id", Uuid),
    Column("key", StoredText, nullable=False),
    Column("claimed", Boolean, nullable=False),
    Column("body_hash", StoredText, nullable=False),
    Column("state", StoredText, nullable=False),
    # what the client was answered, once the turn has ended
    Column("reply", Json),
    # while it runs: after this its process is taken for dead
    Column("leased_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    CheckConstraint("state IN ('running', 'complete', 'interrupted', 'failed')", name="state"),
    Index("ix_turn_requests_key", "user_id", "key", "created_at"),
    Index(
        "ix_turn_requests_claimed",
        "user_id",
        "key",
        unique=True,
        sqlite_where=text("claimed"),
        postgresql_where=text("claimed"),
    ),
)

pending_calls = Table(
    "pending_calls",
    metadata,
    # rounds that wait for the client's own results, where no session keeps them
    Column("user_id", Uuid, ForeignKey("users.id"), primary_key=True),
    Column("call_id", StoredText, primary_key=True),
    Column("messages", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

tool_effects = Table(
    "tool_effects",
    metadata,
    # a call of a tool that changes something, written before it is made: one turn makes none twice
    Column("id", Uuid, primary_key=True),
    Column("turn_id", Uuid, nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("session_id", Uuid),
    # what the turn's request is known by, where it may come again
    Column("request_key", StoredText),
    Column("tool", StoredText, nullable=False),
    Column("arguments", StoredText, nullable=False),
    # none while it is not known whether it was carried out
    Column("result", StoredText),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Index("ix_tool_effects_request", "user_id", "request_key"),
)

signals = Table(
    "signals",
    metadata,
    # what every process of an installation follows: `reload`, …
    Column("name", StoredText, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
