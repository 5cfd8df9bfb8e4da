"""Knowledge in Cozy's own database: documents as passages, found by full text, ranked by BM25.

The ranking is one formula on both databases (Robertson and Zaragoza, "The Probabilistic Relevance Framework:
BM25 and Beyond", 2009). They differ in where the occurrences of a term are looked up: SQLite in its FTS5
index, PostgreSQL in the GIN index of a tsvector.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import Connection, bindparam, func, select, text

from cozy.adapters.passages import SPLITTING, split
from cozy.adapters.sql_engine import engine_errors, insert, required
from cozy.adapters.text_terms import index_terms, query_terms, rarity, selecting
from cozy.ports.knowledge import Document, Passage
from cozy.storage.context_tables import documents, passages
from cozy.storage.database import Database
from cozy.storage.schema import storable, utc_now
from cozy.turn import UserId

ENGINE = "knowledge"
LONGEST_NAME = 300
"""Two names, of a dataset and a document, fit an index row of PostgreSQL (2704 bytes) in any script."""
HITS = 5_000
"""How many pairs of a term and a passage a search looks at, about; the rarest terms come first."""
K1, B = 1.2, 0.75
# scores are added as whole numbers: their sum does not depend on the order in which a database adds
SCALE = 1_000_000_000

_COUNTS = {
    "sqlite": """
        SELECT q.value AS term, c.doc AS holding
        FROM json_each(:terms) q CROSS JOIN passage_counts c ON c.term = q.value
    """,
    "postgresql": """
        SELECT q.value AS term, (
            SELECT count(*) FROM passages p WHERE p.terms @@ CAST('''' || q.value || '''' AS tsquery)
        ) AS holding
        FROM json_array_elements_text(CAST(:terms AS json)) q
    """,
}
_HITS = {
    "sqlite": """
        SELECT v.doc AS id, count(*) AS occurrences,
            json_extract(q.value, '$[0]') AS weight, json_extract(q.value, '$[1]') AS selects
        FROM json_each(:query) q CROSS JOIN passage_hits v ON v.term = q.key
        GROUP BY v.doc, q.key
    """,
    # a single term has a cover at each of its places: its cover density is how often it occurs
    "postgresql": """
        SELECT p.id, ts_rank_cd('{1,1,1,1}', p.terms, CAST('''' || q.key || '''' AS tsquery)) AS occurrences,
            CAST(q.value->>0 AS float) AS weight, CAST(q.value->>1 AS int) AS selects
        FROM json_each(CAST(:query AS json)) q
        JOIN passages p ON p.terms @@ CAST('''' || q.key || '''' AS tsquery)
    """,
}
_WITHIN = {
    "sqlite": "WHERE d.dataset IN (SELECT value FROM json_each(:datasets))",
    "postgresql": "WHERE d.dataset IN (SELECT json_array_elements_text(CAST(:datasets AS json)))",
}
_SEARCH = """
    WITH hits AS ({hits}), best AS (
        SELECT p.id, sum(CAST(
            :scale * h.weight * h.occurrences
            / (h.occurrences + :k1 * (1 - :b + :b * p.length / :mean)) AS bigint
        )) AS score
        FROM hits h JOIN passages p ON p.id = h.id JOIN documents d ON d.id = p.document_id
        {within}
        GROUP BY p.id HAVING max(h.selects) = 1
        ORDER BY score DESC, p.id LIMIT :top_k
    )
    SELECT p.id, p.text, p.source, d.dataset, best.score
    FROM best JOIN passages p ON p.id = best.id JOIN documents d ON d.id = p.document_id
    ORDER BY best.score DESC, p.id
"""


def _search(dialect: str, *, within: str) -> sa.TextClause:
    sql = _SEARCH.replace("{hits}", _HITS[dialect]).replace("{within}", within)
    real: sa.Double[float] = sa.Double()  # untyped, PostgreSQL takes `1 - :b` for whole numbers
    return text(sql).bindparams(*(bindparam(name, type_=real) for name in ("scale", "k1", "b", "mean")))


_COUNT_TERMS = {name: text(sql) for name, sql in _COUNTS.items()}
_SEARCH_ALL = {name: _search(name, within="") for name in _HITS}
_SEARCH_WITHIN = {name: _search(name, within=_WITHIN[name]) for name in _HITS}
_SIZE = select(
    func.coalesce(func.sum(documents.c.passages), 0), func.coalesce(func.sum(documents.c.terms), 0)
)
_DOCUMENTS = select(
    documents.c.id,
    documents.c.dataset,
    documents.c.name,
    documents.c.passages,
    documents.c.characters,
    documents.c.added_at,
).order_by(documents.c.dataset, documents.c.name)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document ready to be written: what takes time is done."""

    id: UUID
    row: Mapping[str, Any]
    passages: Sequence[Mapping[str, Any]]


class SqlKnowledge:
    """Fills `KnowledgeBase`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(
        self, query: str, *, user_id: UserId, datasets: Sequence[str], top_k: int
    ) -> Sequence[Passage]:
        del user_id  # the documents are the installation's: every user may read them all
        terms = query_terms(query)
        if not terms:
            return []
        names = [storable(name) for name in datasets]
        with engine_errors(ENGINE):
            return await self._database.read(lambda connection: _find(connection, terms, names, top_k))

    async def add(self, *, dataset: str, name: str, text: str) -> Document:
        dataset = required(ENGINE, "the dataset's name", dataset, LONGEST_NAME)
        name = required(ENGINE, "the document's name", name, LONGEST_NAME)
        prepared = await to_thread.run_sync(
            _prepare, self._database.dialect, storable(dataset), storable(name), storable(text)
        )
        with engine_errors(ENGINE):
            return await self._database.write(lambda connection: _store(connection, prepared))

    async def documents(self, dataset: str | None = None) -> Sequence[Document]:
        statement = _DOCUMENTS if dataset is None else _DOCUMENTS.where(documents.c.dataset == dataset)
        with engine_errors(ENGINE):
            return await self._database.read(
                lambda connection: [_document(row) for row in connection.execute(statement)]
            )

    async def datasets(self) -> Sequence[str]:
        statement = select(documents.c.dataset).distinct().order_by(documents.c.dataset)
        with engine_errors(ENGINE):
            return await self._database.read(lambda connection: connection.scalars(statement).all())

    async def remove(self, *, dataset: str, name: str | None = None) -> int:
        statement = documents.delete().where(documents.c.dataset == dataset)
        if name is not None:
            statement = statement.where(documents.c.name == name)
        with engine_errors(ENGINE):
            return await self._database.write(lambda connection: connection.execute(statement).rowcount)


def _find(
    connection: Connection, terms: Mapping[str, float], datasets: Sequence[str], top_k: int
) -> list[Passage]:
    dialect = connection.dialect.name
    if dialect == "postgresql":
        # its planner does not know what it costs to unpack a long tsvector, and would read them all
        connection.execute(text("SET LOCAL enable_seqscan = off"))
    total, length = connection.execute(_SIZE).one()
    counts = {
        term: int(holding)
        for term, holding in connection.execute(
            _COUNT_TERMS[dialect], {"terms": json.dumps(list(terms), ensure_ascii=False)}
        )
    }
    weights = {term: weight * rarity(total, counts.get(term, 0)) for term, weight in terms.items()}
    selects = selecting(terms, counts)
    if not selects:
        return []
    query = {term: [weights[term], int(term in selects)] for term in _worth_a_look(counts, selects)}
    values = {
        "query": json.dumps(query, ensure_ascii=False),
        "scale": SCALE,
        "k1": K1,
        "b": B,
        "mean": length / total,
        "top_k": max(top_k, 0),
    }
    if datasets:
        values["datasets"] = json.dumps(list(datasets), ensure_ascii=False)
    rows = connection.execute((_SEARCH_WITHIN if datasets else _SEARCH_ALL)[dialect], values)
    best = SCALE * sum(weights.values())
    return [
        Passage(str(row.id), row.text, row.source, row.dataset, score=float(row.score) / best) for row in rows
    ]


def _worth_a_look(counts: Mapping[str, int], selects: set[str]) -> list[str]:
    """The terms that occur, those that select first, rarest first, as many as are bearable to look at."""
    chosen: list[str] = []
    hits = 0
    found = (term for term, holding in counts.items() if holding)
    for term in sorted(found, key=lambda term: (term not in selects, counts[term], term)):
        hits += counts[term]
        if chosen and hits > HITS:
            break
        chosen.append(term)
    return chosen


def _prepare(dialect: str, dataset: str, name: str, text: str) -> _Prepared:
    rows: list[dict[str, Any]] = []
    for position, piece in enumerate(split(name, text)):
        terms = index_terms("\n".join((*piece.headings, piece.text)))
        rows.append(
            {
                "position": position,
                "source": " › ".join((name, *piece.headings)),
                "text": piece.text,
                "length": len(terms),
                "terms": " ".join(terms) if dialect == "sqlite" else _tsvector(terms),
            }
        )
    row = {
        "dataset": dataset,
        "name": name,
        "digest": hashlib.sha256(f"{SPLITTING}\0{text}".encode()).hexdigest(),
        "passages": len(rows),
        "terms": sum(passage["length"] for passage in rows),
        "characters": len(text),
        "added_at": utc_now(),
    }
    return _Prepared(uuid4(), row, rows)


def _tsvector(terms: Sequence[str]) -> str:
    """What PostgreSQL reads as a tsvector: each term, which is letters, digits and dots, with its places."""
    places = defaultdict[str, list[str]](list)
    for place, term in enumerate(terms, start=1):
        places[term].append(str(place))
    return " ".join(f"'{term}':{','.join(found)}" for term, found in places.items())


def _store(connection: Connection, prepared: _Prepared) -> Document:
    """Insert or replace; the document's row is taken first, so that two who add it follow one another."""
    row = prepared.row
    written = connection.execute(
        insert(connection, documents)
        .values(id=prepared.id, **row)
        .on_conflict_do_update(
            index_elements=["dataset", "name"], set_=row, where=documents.c.digest != row["digest"]
        )
        .returning(documents.c.id)
    ).scalar()
    if written is not None:
        connection.execute(passages.delete().where(passages.c.document_id == written))
        rows = [{**passage, "document_id": written} for passage in prepared.passages]
        if rows:
            connection.execute(passages.insert(), rows)
    return _document(
        connection.execute(
            _DOCUMENTS.where(documents.c.dataset == row["dataset"], documents.c.name == row["name"])
        ).one()
    )


def _document(row: Any) -> Document:
    return Document(str(row.id), row.dataset, row.name, row.passages, row.characters, row.added_at)
