"""Names of the terminal's users as logins spell them: `Ada` and `ada` are one name."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

users = sa.table(
    "users", sa.column("id", sa.Uuid()), sa.column("username", sa.Text()), sa.column("created_at")
)


def upgrade() -> None:
    """Rename whose name nobody else has. Where several have one, the first gets it; the others may be other
    people, so they stay as they are, and are found by what they were called."""
    connection = op.get_bind()
    rows = connection.execute(sa.select(users.c.id, users.c.username).order_by(users.c.created_at)).all()
    taken = {name for _, name in rows}
    for user_id, name in rows:
        new = _canonical(name.strip())
        if new and new not in taken:
            taken.add(new)
            connection.execute(sa.update(users).where(users.c.id == user_id).values(username=new))


def downgrade() -> None:
    """Nothing: what people typed is not known any more, and the version before takes any name."""


def _canonical(text: str) -> str:
    """`account_rules.canonical` as it was when this was written."""
    while (folded := unicodedata.normalize("NFKC", text).casefold()) != text:
        text = folded
    return text
