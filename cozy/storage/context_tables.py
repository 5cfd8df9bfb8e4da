"""What the embedded engines keep: documents with their passages, memories, profile facts.

Passages are found by their terms. On PostgreSQL `passages.terms` is a tsvector under a GIN index; on SQLite
it is the same terms as text, which triggers keep in the FTS5 table `passage_index` and its two vocabularies
(`passage_counts`, `passage_hits`). Those four are made by the migration, SQLAlchemy knows no virtual tables.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import TSVECTOR

from cozy.storage.schema import StoredText, UtcDateTime, Uuid, metadata
from cozy.storage.tables import users

documents = Table(
    "documents",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("dataset", StoredText, nullable=False),
    Column("name", StoredText, nullable=False),
    # of the text and of how it was split: the same again need not be taken in again
    Column("digest", StoredText, nullable=False),
    Column("passages", Integer, nullable=False),
    Column("terms", Integer, nullable=False),
    Column("characters", Integer, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    UniqueConstraint("dataset", "name"),
)

passages = Table(
    "passages",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("document_id", Uuid, ForeignKey(documents.c.id, ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("source", StoredText, nullable=False),
    Column("text", StoredText, nullable=False),
    Column("length", Integer, nullable=False),
    Column("terms", Text().with_variant(TSVECTOR, "postgresql"), nullable=False),
    UniqueConstraint("document_id", "position"),
)
Index("ix_passages_terms", passages.c.terms, postgresql_using="gin").ddl_if(dialect="postgresql")

memories = Table(
    "memories",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False),
    Column("text", StoredText, nullable=False),
    # of the text without case, space and punctuation
    Column("digest", StoredText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # how often it was said, and when last
    Column("seen", Integer, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    UniqueConstraint("user_id", "digest"),
    Index("ix_memories_newest", "user_id", "created_at"),
)

profile_facts = Table(
    "profile_facts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False),
    Column("topic", StoredText, nullable=False),
    Column("sub_topic", StoredText, nullable=False),
    Column("content", StoredText, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("user_id", "topic", "sub_topic"),
)

learned_turns = Table(
    "learned_turns",
    metadata,
    Column("turn_id", Uuid, primary_key=True),
    # `memory` or `profile`
    Column("target", StoredText, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("learned_at", UtcDateTime, nullable=False),
)

engine_generations = Table(
    "engine_generations",
    metadata,
    # goes up with every write: what was kept of an engine's answers before is not used any more
    # all zeros for what is everybody's
    Column("user_id", Uuid, primary_key=True),
    Column("engine", StoredText, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

engine_writes = Table(
    "engine_writes",
    metadata,
    # what a turn teaches an engine outside: noted before it is sent, so that it is not sent twice
    Column("turn_id", Uuid, primary_key=True),
    Column("engine", StoredText, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False),
    # by what the engine knows it; none while it is not known whether it came there
    Column("receipt", StoredText),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime),
    Index("ix_engine_writes_user", "user_id", "engine"),
)
