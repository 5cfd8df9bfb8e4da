"""Documents and their passages with a full-text index, memories, profile facts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)

# terms come ready cut, separated by spaces: `ascii` leaves every character beyond ASCII as it is
FULL_TEXT = (
    """CREATE VIRTUAL TABLE passage_index USING fts5(
        terms, content='passages', content_rowid='id', tokenize="ascii tokenchars '.'"
    )""",
    "CREATE VIRTUAL TABLE passage_counts USING fts5vocab('passage_index', 'row')",
    "CREATE VIRTUAL TABLE passage_hits USING fts5vocab('passage_index', 'instance')",
    """CREATE TRIGGER passages_indexed AFTER INSERT ON passages BEGIN
        INSERT INTO passage_index(rowid, terms) VALUES (new.id, new.terms);
    END""",
    """CREATE TRIGGER passages_unindexed AFTER DELETE ON passages BEGIN
        INSERT INTO passage_index(passage_index, rowid, terms) VALUES ('delete', old.id, old.terms);
    END""",
)


def of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id"), ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("terms", sa.Integer(), nullable=False),
        sa.Column("characters", sa.Integer(), nullable=False),
        sa.Column("added_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.UniqueConstraint("dataset", "name", name=op.f("uq_documents_dataset_name")),
    )
    op.create_table(
        "passages",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True
        ),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("terms", sa.Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passages")),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_passages_document_id"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("document_id", "position", name=op.f("uq_passages_document_id_position")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in FULL_TEXT:
            op.execute(sa.text(statement))
    else:
        op.create_index("ix_passages_terms", "passages", ["terms"], postgresql_using="gin")
    op.create_table(
        "memories",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memories")),
        of_user("memories"),
        sa.UniqueConstraint("user_id", "digest", name=op.f("uq_memories_user_id_digest")),
    )
    op.create_index("ix_memories_newest", "memories", ["user_id", "created_at"])
    op.create_table(
        "profile_facts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("sub_topic", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_profile_facts")),
        of_user("profile_facts"),
        sa.UniqueConstraint(
            "user_id", "topic", "sub_topic", name=op.f("uq_profile_facts_user_id_topic_sub_topic")
        ),
    )
    op.create_table(
        "learned_turns",
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("learned_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("turn_id", "target", name=op.f("pk_learned_turns")),
        of_user("learned_turns"),
    )
    op.create_index("ix_learned_turns_user_id", "learned_turns", ["user_id"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # the vocabularies read the index: they go first
        for table in ("passage_hits", "passage_counts", "passage_index"):
            op.execute(sa.text(f"DROP TABLE {table}"))
    for table in ("learned_turns", "profile_facts", "memories", "passages", "documents"):
        op.drop_table(table)
