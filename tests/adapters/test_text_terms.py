from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.text_terms import QUERY_TERMS, WEAK, index_terms, query_terms, rank
from cozy.writing import fingerprint


def strong(text: str) -> set[str]:
    return {term for term, weight in query_terms(text).items() if weight > WEAK}


def test_chinese_is_indexed_as_pairs_and_single_characters() -> None:
    assert index_terms("量血压。") == ["量血", "血压", "量", "血", "压"]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        pytest.param("Clean the Rain-gauge", ["clean", "the", "rain", "gaug"], id="english"),
        pytest.param("ＡＢＣ１２３ ｶﾞｽ", ["abc123", "ガス", "ガ", "ス"], id="full and half width"),
        pytest.param("3.5 v1.2 1,000 4kg", ["3.5", "v1", "2", "1000", "4kg"], id="numbers"),
        pytest.param(
            "维生素C每天100毫克",
            ["维生", "生素", "维", "生", "素", "c", "每天", "每", "天", "100", "毫克", "毫", "克"],
            id="mixed",
        ),
        pytest.param("약을 먹다", ["약을", "약", "을", "먹다", "먹", "다"], id="korean"),
        pytest.param("हिन्दी Straße e\u0301té", ["हिन्दी", "strass", "été"], id="marks and folding"),
        pytest.param("snake_case, don't", ["snak", "cas", "don", "t"], id="joined words"),
        pytest.param("\x00\ud800 !?'\"()*", [], id="nothing to search"),
    ],
)
def test_text_becomes_terms(text: str, terms: list[str]) -> None:
    assert index_terms(text) == terms


@pytest.mark.parametrize(
    "forms",
    [
        ("install", "installs", "installed", "Installing"),
        ("battery", "batteries"),
        ("stop", "stops", "stopped", "stopping"),
        ("live", "lives", "lived", "living"),
    ],
)
def test_forms_of_an_english_word_are_one_term(forms: tuple[str, ...]) -> None:
    assert len({tuple(index_terms(form)) for form in forms}) == 1


@pytest.mark.parametrize("word", ["glass", "status", "this", "string", "king", "need", "red", "bus", "thing"])
def test_a_word_that_only_looks_inflected_keeps_its_end(word: str) -> None:
    assert index_terms(word) == [word]


def test_the_words_of_asking_are_left_out_of_a_query() -> None:
    assert strong("What is the best way to clean a rain gauge, please?") == {
        "best",
        "way",
        "clean",
        "rain",
        "gaug",
    }
    assert strong("请问高血压患者可以吃多少盐呢？") == {"高血", "血压", "压患", "患者", "吃", "盐"}
    assert strong("我喜欢喝什么茶？") == {"喜欢", "欢喝", "茶"}
    assert query_terms("what is the") == query_terms("这是什么的呢") == query_terms("？！…") == {}


def test_a_single_character_weighs_less_than_the_pair_it_is_part_of() -> None:
    assert query_terms("血压") == {"血压": 1.0, "血": WEAK, "压": WEAK}
    assert query_terms("盐") == {"盐": 1.0}


def test_of_a_long_query_the_beginning_and_the_end_count() -> None:
    words = " ".join(f"word{number}" for number in range(200_000))
    terms = query_terms(words)
    assert len(terms) == QUERY_TERMS
    assert "word0" in terms
    assert "word199999" in terms


@given(st.text() | st.text("的了血压盐aB1 .'\x00"))
def test_terms_fit_into_any_index_and_are_found_again(text: str) -> None:
    terms = index_terms(text)
    assert all(term and all(c.isalnum() or not c.isascii() or c == "." for c in term) for term in terms)
    assert query_terms(text).keys() <= set(terms)


def test_texts_are_ranked_by_what_they_hold_of_the_query() -> None:
    texts = ["用户喜欢喝茶", "用户住在北京", "用户不喜欢吃鱼", "The user likes tea"]
    scores = rank(query_terms("我喜欢喝什么茶"), [set(index_terms(text)) for text in texts])
    assert scores[0] > scores[2] > 0
    assert scores[1] == scores[3] == 0
    assert max(scores) <= 1


def test_a_rare_word_tells_more_than_a_frequent_one() -> None:
    texts = [{"user", "paris"}, {"user", "tea"}, {"user", "rome"}, {"user"}]
    scores = rank({"user": 1.0, "rome": 1.0}, texts)
    assert max(scores) == scores[2] > 3 * scores[0]


def test_a_shared_character_is_no_find_where_a_whole_word_is_one() -> None:
    pressure, sugar = set(index_terms("量血压")), set(index_terms("测血糖"))
    assert rank(query_terms("血压"), [pressure, sugar])[1] == 0


def test_single_characters_find_where_no_pair_does() -> None:
    tea, days = set(index_terms("用户喜欢茶")), set(index_terms("用户每天跑步"))
    assert rank(query_terms("喝茶好不好"), [tea, days])[0] > 0
    assert rank(query_terms("今天天气怎么样"), [tea, days]) == [0, 0]


@given(
    st.lists(st.sets(st.sampled_from("abcd"))),
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from([WEAK, 1.0])),
)
def test_a_score_is_a_share(texts: list[set[str]], query: dict[str, float]) -> None:
    for text, score in zip(texts, rank(query, texts), strict=True):
        assert 0 <= score <= 1 + 1e-9
        assert score == 0 or text & query.keys()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The user's name is Ada.", "the users  name is ADA"),
        ("用户喜欢喝茶。", " 用户 喜欢 喝茶"),
        ("Ｔｅａ！", "tea"),
    ],
)
def test_texts_that_say_the_same_have_one_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one).replace(" s ", "s ") == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"), [("C++", "C#"), ("3.5", "35"), ("-5", "5"), ("喜欢茶", "不喜欢茶")]
)
def test_texts_that_differ_in_what_they_say_have_two(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_traditional_and_simplified_characters_find_each_other() -> None:
    assert index_terms("血壓計與體溫計") == index_terms("血压计与体温计")
    assert query_terms("頸動脈超聲檢查") == query_terms("颈动脉超声检查")
    assert fingerprint("陳大文") != fingerprint("陈大文"), "a name is what its owner writes"
