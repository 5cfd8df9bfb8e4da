from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text

from cozy.adapters import sql_knowledge as module
from cozy.adapters.sql_knowledge import LONGEST_NAME, SqlKnowledge
from cozy.errors import EngineInvalidRequest, EngineUnavailable
from cozy.ports.knowledge import Passage
from cozy.storage.context_tables import passages
from cozy.storage.database import Database, open_database
from cozy.turn import UserId
from tests.databases import plan_of

DOCUMENTS = Path(__file__).parent / "documents"
ANYBODY = UserId(uuid4())


@pytest.fixture
async def knowledge(database: Database) -> SqlKnowledge:
    return SqlKnowledge(database)


@pytest.fixture
async def library(knowledge: SqlKnowledge) -> SqlKnowledge:
    """A Chinese and an English document."""
    for dataset, name in (("health", "health.md"), ("stations", "handbook.md")):
        await knowledge.add(dataset=dataset, name=name, text=(DOCUMENTS / name).read_text())
    return knowledge


async def found(knowledge: SqlKnowledge, query: str, *datasets: str, top_k: int = 5) -> Sequence[Passage]:
    return await knowledge.search(query, user_id=ANYBODY, datasets=datasets, top_k=top_k)


async def texts(knowledge: SqlKnowledge, query: str, *datasets: str) -> list[str]:
    return [passage.text for passage in await found(knowledge, query, *datasets)]


def rows(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(passages)).scalar_one()


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("高血压患者每天可以吃多少盐？", "高血压 › 饮食"),
        ("血压应该什么时候量？", "高血压 › 血压怎么量"),
        ("高血壓患者每天可以吃多少鹽？", "高血压 › 饮食"),
        ("忘记吃降压药了怎么办", "高血压 › 用药"),
        ("低血糖有什么症状", "糖尿病 › 低血糖"),
        ("糖尿病人怎么洗脚？", "糖尿病 › 足部护理"),
        ("老人跌倒怎么办", "跌倒之后"),
        ("我晚上总是睡不着", "睡眠"),
        ("流感疫苗什么时候打", "疫苗"),
        ("盐", "高血压 › 饮食"),
        ("１４０/９０", "高血压 › 血压怎么量"),
        ("How do I install the station on Linux?", "Setup › Linux"),
        ("what is the setting of the firewall", "Setup › Windows"),
        ("How often should the rain gauge be cleaned?", "Sensors › Rain gauge"),
        ("how long are raw readings kept", "Data › Retention"),
        ("What happens to a battery in the frost?", "Sensors › Batteries"),
        ("Who is on duty at the weekend?", "Holidays and absence"),
        ("CAN I DOWNLOAD IT AS CSV", "Data › Export"),
    ],
)
async def test_a_question_finds_the_passage_that_answers_it(
    library: SqlKnowledge, question: str, heading: str
) -> None:
    best, *others = await found(library, question)
    assert best.source.endswith(f" › {heading}")
    assert 0.1 < best.score <= 1
    assert all(other.score < best.score for other in others)


async def test_both_databases_give_the_same_answers(sqlite_url: str, postgres_url: str) -> None:
    answers: list[list[tuple[str, str]]] = []
    for url in (sqlite_url, postgres_url):
        async with open_database(url) as database:
            knowledge = SqlKnowledge(database)
            for name in ("health.md", "handbook.md"):
                await knowledge.add(dataset="d", name=name, text=(DOCUMENTS / name).read_text())
            passages = await found(knowledge, "老人晚上量血压 every month 0.2 mm", top_k=50)
            answers.append([(passage.source, f"{passage.score:.6f}") for passage in passages])
    assert answers[0] == answers[1]
    assert len(answers[0]) > 5


async def test_a_passage_tells_where_it_stands(library: SqlKnowledge) -> None:
    (passage,) = await found(library, "低血糖 昏迷", top_k=1)
    assert passage.source == "health.md › 居家健康手册 › 糖尿病 › 低血糖"
    assert passage.dataset == "health"
    assert passage.text.startswith("出冷汗、手抖")


@pytest.mark.parametrize(
    "query", ["今天天气怎么样", "quantum physics", "这是什么的呢", "what is the", "is it?"]
)
async def test_what_no_document_tells_of_finds_nothing(library: SqlKnowledge, query: str) -> None:
    assert await found(library, query) == []


async def test_the_words_of_asking_do_not_decide(knowledge: SqlKnowledge) -> None:
    await knowledge.add(
        dataset="d",
        name="a.txt",
        text="What is it? What is the what? How do you do? 这是什么？什么是什么的？",
    )
    await knowledge.add(dataset="d", name="b.txt", text="Cinnamon comes from bark. 肉桂来自树皮。")
    await knowledge.add(dataset="d", name="c.txt", text="Saffron comes from crocus. 藏红花来自番红花。")
    assert (await texts(knowledge, "what is the cinnamon"))[0].startswith("Cinnamon")
    assert (await texts(knowledge, "什么是肉桂呢"))[0].startswith("Cinnamon")


async def test_the_best_comes_first_and_at_most_as_many_as_asked(library: SqlKnowledge) -> None:
    found_two = await found(library, "血压 血糖 睡眠 疫苗", top_k=2)
    found_all = await found(library, "血压 血糖 睡眠 疫苗", top_k=50)
    assert len(found_two) == 2
    assert found_two == found_all[:2]
    assert [p.score for p in found_all] == sorted((p.score for p in found_all), reverse=True)
    assert await found(library, "血压 血糖 睡眠 疫苗", top_k=50) == found_all


async def test_passages_that_fit_alike_come_in_the_order_of_their_document(knowledge: SqlKnowledge) -> None:
    await knowledge.add(dataset="d", name="a.md", text="\n".join(f"# {n}\ntea" for n in range(10, 30)))
    sources = [passage.source for passage in await found(knowledge, "tea", top_k=20)]
    assert sources == [f"a.md › {n}" for n in range(10, 30)]


async def test_what_says_it_more_often_fits_better(knowledge: SqlKnowledge) -> None:
    await knowledge.add(
        dataset="d", name="a.md", text="# 一\n茶 水 水 水\n# 二\n茶 茶 茶 水\n# 三\n水 水 水 水"
    )
    assert [p.source for p in await found(knowledge, "茶")] == ["a.md › 二", "a.md › 一"]


async def test_a_shared_character_is_no_find_where_a_whole_word_is_one(knowledge: SqlKnowledge) -> None:
    await knowledge.add(dataset="d", name="a.md", text="# 一\n量血压\n# 二\n测血糖\n# 三\n测体温")
    assert await texts(knowledge, "血压") == ["量血压"]
    assert sorted(await texts(knowledge, "血脂")) == ["测血糖", "量血压"]


async def test_only_the_named_datasets_are_searched(library: SqlKnowledge) -> None:
    assert {p.dataset for p in await found(library, "血压 battery", top_k=20)} == {"health", "stations"}
    assert {p.dataset for p in await found(library, "血压 battery", "stations")} == {"stations"}
    assert {p.dataset for p in await found(library, "血压 battery", "stations", "health")} == {
        "health",
        "stations",
    }
    assert await found(library, "血压 battery", "none", "\x00'\ud800") == []


async def test_the_only_document_of_an_installation_is_found(knowledge: SqlKnowledge) -> None:
    await knowledge.add(dataset="d", name="a.txt", text="我们的猫叫咪咪。")
    (passage,) = await found(knowledge, "猫叫什么？")
    assert passage.score > 0.1
    assert passage.source == "a.txt"


async def test_an_empty_installation_finds_nothing(knowledge: SqlKnowledge) -> None:
    assert await found(knowledge, "血压") == []
    assert await knowledge.documents() == []
    assert await knowledge.datasets() == []


async def test_documents_are_listed(library: SqlKnowledge) -> None:
    added = await library.add(dataset="health", name="b.txt", text="血压")
    assert await library.datasets() == ["health", "stations"]
    assert [document.name for document in await library.documents()] == ["b.txt", "health.md", "handbook.md"]
    listed = await library.documents("health")
    assert listed[0] == added
    assert (added.passages, added.characters, added.dataset) == (1, 2, "health")
    assert await library.documents("none") == []


async def test_a_document_of_the_same_name_is_replaced(knowledge: SqlKnowledge, database: Database) -> None:
    first = await knowledge.add(dataset="d", name="a.md", text="# 一\n老茶\n# 二\n旧水")
    other = await knowledge.add(dataset="e", name="a.md", text="老茶")
    second = await knowledge.add(dataset="d", name="a.md", text="新酒")
    assert second.id == first.id
    assert (second.passages, second.characters) == (1, 2)
    assert second.added_at > first.added_at
    assert await knowledge.documents("d") == [second]
    assert await texts(knowledge, "旧水") == []
    assert [p.dataset for p in await found(knowledge, "老茶")] == [other.dataset]
    assert await texts(knowledge, "新酒") == ["新酒"]
    assert await database.read(rows) == 2


async def test_the_same_text_again_changes_nothing(knowledge: SqlKnowledge) -> None:
    first = await knowledge.add(dataset="d", name="a.md", text="茶")
    (before,) = await found(knowledge, "茶")
    assert await knowledge.add(dataset="d", name="a.md", text="茶") == first
    assert await found(knowledge, "茶") == [before]


async def test_a_document_s_passages_come_and_go_at_once(knowledge: SqlKnowledge) -> None:
    """Whoever reads meanwhile finds the old text or the new one."""
    await knowledge.add(dataset="d", name="a.md", text="茶 0")
    seen: list[str] = []

    async def read() -> None:
        for _ in range(30):
            seen.extend(await texts(knowledge, "茶"))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        for number in range(1, 10):
            await knowledge.add(dataset="d", name="a.md", text=f"茶 {number}")
    assert len(seen) == 30
    assert seen == sorted(seen)


async def test_two_who_add_the_same_document_follow_one_another(knowledge: SqlKnowledge) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(lambda n=number: knowledge.add(dataset="d", name="a.md", text=f"茶 {n}"))
    assert [document.passages for document in await knowledge.documents()] == [1]
    assert len(await texts(knowledge, "茶")) == 1


async def test_a_document_or_a_dataset_is_removed(library: SqlKnowledge, database: Database) -> None:
    await library.add(dataset="health", name="b.txt", text="血压")
    assert await library.remove(dataset="health", name="health.md") == 1
    assert await texts(library, "血压") == ["血压"]
    assert await library.remove(dataset="health", name="health.md") == 0
    assert await library.remove(dataset="health") == 1
    assert await texts(library, "血压") == []
    assert await library.datasets() == ["stations"]
    assert await library.remove(dataset="stations") == 1
    assert await database.read(rows) == 0


async def test_sqlite_s_index_holds_what_the_table_holds(sqlite_url: str) -> None:
    async with open_database(sqlite_url) as database:
        knowledge = SqlKnowledge(database)
        for round_ in range(3):
            await knowledge.add(dataset="d", name="a.md", text=f"# {round_}\n血压 {round_}\n# b\nwords")
        await knowledge.remove(dataset="d")
        await knowledge.add(dataset="d", name="b.md", text="茶")
        check = text("INSERT INTO passage_index(passage_index, rank) VALUES ('integrity-check', 1)")
        await database.write(lambda connection: connection.execute(check))


@pytest.mark.parametrize(
    "query",
    [
        "",
        " \n\t",
        "？！…",
        '"',
        "'",
        "\\",
        "血压' OR '1'='1",
        '血压" OR "',
        "血压 AND NOT (NEAR *",
        "terms:血压 -盐 ^起",
        "'血压':* & !'盐' | <->",
        "血压\x00盐",
        "\ud800血压\udfff",
        "血压\u202e\ufeff\u0301",
        "%血压%_",
        ":query $1 ? {0} %s",
        "血" * 1_000_000,
        "what " * 200_000 + "血压",
        "\u0301" * 1000,
        "a" * 100_000,
        "1." * 50_000,
        "ﷺ" * 10_000,
        "٠١٢٣ ²½ⅷ㍿㈱ 𝒜𝟙",
    ],
    ids=lambda query: ascii(query[:12]),
)
async def test_no_query_does_harm(library: SqlKnowledge, query: str) -> None:
    before = await library.documents()
    for passage in await found(library, query):
        assert 0 < passage.score <= 1
    assert await library.documents() == before
    if "血压" in query:
        assert (await found(library, query))[0].dataset == "health"


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(body="\x00\ud83d 血压", query="血\x00压")
@example(body="'':1 \\ '", query="''")
@given(
    body=st.text(st.characters(exclude_categories=())),
    query=st.text(st.characters(exclude_categories=())) | st.text("血压盐a1.' "),
)
async def test_whatever_is_added_is_kept_and_whatever_is_asked_is_answered(
    knowledge: SqlKnowledge, body: str, query: str
) -> None:
    await knowledge.add(dataset="d", name="a.txt", text=f"血压盐 {body}")
    answers = await found(knowledge, query)
    assert all(0 < passage.score <= 1 and passage.source == "a.txt" for passage in answers)
    assert await found(knowledge, "血压盐")


@pytest.mark.parametrize(
    "sign", ["ﷺ", "a ", "血", "\u0301", "e\u0301", "𠮷", "'", "\\", "1.", "ß"], ids=ascii
)
async def test_a_passage_of_one_sign_is_taken_in(knowledge: SqlKnowledge, sign: str) -> None:
    document = await knowledge.add(dataset="d", name="a.md", text=f"```\n{sign * 1900}\n```\n\n茶")
    assert document.passages >= 1
    assert (await texts(knowledge, "茶"))[0].endswith("茶")


async def test_the_rest_of_an_index_is_left_alone(library: SqlKnowledge, database: Database) -> None:
    """Occurrences come out of the full-text index, not of reading every passage."""
    dialect = database.dialect
    values = {"query": '{"血压": [1.0, 1]}', "scale": 1.0, "k1": 1.2, "b": 0.75, "mean": 1.0, "top_k": 5}
    plan = await database.read(lambda c: plan_of(c, module._SEARCH_ALL[dialect], values))
    assert ("VIRTUAL TABLE INDEX" if dialect == "sqlite" else "ix_passages_terms") in plan
    assert "Seq Scan on passages" not in plan


async def test_a_large_document_is_taken_in_whole(knowledge: SqlKnowledge) -> None:
    body = "\n\n".join(f"第{n}条：第{n}号房间的钥匙在抽屉里。" * 20 for n in range(100, 400))
    document = await knowledge.add(dataset="d", name="a.txt", text=body)
    assert document.passages == 300
    (best, *_) = await found(knowledge, "217号房间的钥匙在哪里")
    assert "217" in best.text


@pytest.mark.parametrize(("dataset", "name"), [("", "a"), ("d", " "), ("d" * 301, "a"), ("d", "茶" * 301)])
async def test_a_name_that_cannot_be_kept_is_refused(
    knowledge: SqlKnowledge, dataset: str, name: str
) -> None:
    with pytest.raises(EngineInvalidRequest, match=r"knowledge: the .* is "):
        await knowledge.add(dataset=dataset, name=name, text="茶")


async def test_the_longest_names_fit_every_database(knowledge: SqlKnowledge) -> None:
    rare = "".join(map(chr, range(0x20000, 0x20000 + LONGEST_NAME)))  # 4 bytes each, and nothing to compress
    document = await knowledge.add(dataset=rare, name=rare, text="茶")
    assert (document.dataset, document.name) == (rare, rare)


async def test_no_passages_are_given_for_a_count_below_one(library: SqlKnowledge) -> None:
    for count in (0, -1):
        assert await library.search("血压", user_id=UserId(uuid4()), datasets=[], top_k=count) == []


async def test_names_may_be_of_any_script_and_sign(knowledge: SqlKnowledge) -> None:
    document = await knowledge.add(dataset="数据'集", name='目录/"一".md', text="茶")
    assert (await found(knowledge, "茶", "数据'集"))[0].source == document.name
    assert await knowledge.remove(dataset="数据'集", name=document.name) == 1


async def test_a_document_of_nothing_has_no_passages(knowledge: SqlKnowledge) -> None:
    document = await knowledge.add(dataset="d", name="a.md", text="\n\n")
    assert document.passages == 0
    assert await found(knowledge, "茶") == []


async def test_a_database_that_fails_is_an_engine_that_fails(
    knowledge: SqlKnowledge, database: Database
) -> None:
    await database.write(lambda connection: connection.execute(text("ALTER TABLE documents RENAME TO gone")))
    with pytest.raises(EngineUnavailable) as raised:
        await found(knowledge, "血压")
    assert raised.value.engine == "knowledge"
    assert "cozy db upgrade" in (raised.value.hint or "")
