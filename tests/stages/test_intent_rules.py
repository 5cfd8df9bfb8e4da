"""Which label the rules give a message."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cozy.stages.intent_rules import PATIENCE_S, SEEN, IntentRule, Rules, seen

SMALL_TALK = IntentRule(
    keywords=("hello", "hi", "good morning", "thank you", "你好", "谢谢", "早上好", "再见"),
    patterns=(r"how are you( (doing|today))?",),
    whole=True,
)
MEDICAL = IntentRule(keywords=("fever", "发烧", "头疼"), patterns=(r"疼(了)?\d+天",))


def label(message: str, **rules: IntentRule) -> str | None:
    return Rules(rules or {"small_talk": SMALL_TALK, "medical": MEDICAL}).fit(message).label


def rule(**given: Any) -> IntentRule:
    return IntentRule(**given)


@pytest.mark.parametrize(
    "message",
    [
        "你好",
        "你好！",
        "你好呀～",
        "  你好  ",
        "谢谢啦",
        "谢谢了",
        "謝謝",
        "再見！",
        "Hello",
        "ＨＥＬＬＯ！",
        "hi, good morning :)",
        "How are you today?",
        "hello 你好 👋",
        "THANK  YOU\n",
    ],
)
def test_small_talk_is_a_message_that_holds_nothing_else(message: str) -> None:
    assert label(message) == "small_talk"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("你好，我发烧了怎么办", "medical"),
        ("你好，我發燒了怎麼辦", "medical"),
        ("hello, what is a fever?", "medical"),
        ("你好，帮我看看这段代码", None),
        ("hello, what time is it?", None),
        ("hi 5", None),
        ("", None),
        ("！？。", None),
        ("呀", None),
        ("头疼3天", "medical"),
        ("肚子疼了１２天", "medical"),
    ],
)
def test_a_greeting_before_something_else_is_no_small_talk(message: str, expected: str | None) -> None:
    assert label(message) == expected


@pytest.mark.parametrize("message", ["this", "high", "chi", "hi5", "hi_there", "feverish"])
def test_latin_words_are_found_as_whole_words_only(message: str) -> None:
    assert label(message, small_talk=rule(keywords=("hi",)), medical=rule(keywords=("fever",))) is None


@pytest.mark.parametrize("message", ["say hi!", "我说hi给你", "Hi", "«hi»", "hi's"])
def test_a_latin_word_may_stand_between_chinese_characters_and_signs(message: str) -> None:
    assert label(message, greeting=rule(keywords=("hi",))) == "greeting"


def test_a_sign_that_belongs_to_a_word_is_a_part_of_it() -> None:
    assert label("I write C++ daily", code=rule(keywords=("c++",))) == "code"
    assert label("vitamin c", code=rule(keywords=("c++",))) is None


@pytest.mark.parametrize("message", ["你\u200b好", "你好\ufeff", "he\u00adllo", "hi\u200d"])
def test_signs_of_no_width_hide_nothing(message: str) -> None:
    assert label(message) == "small_talk"
    assert label("(", pattern=rule(patterns=("[❤\ufe0f]",))) is None


@pytest.mark.parametrize("message", ["hi", "Hi", "你好"])
def test_a_keyword_may_end_the_message_where_longer_ones_begin_alike(message: str) -> None:
    small_talk = rule(keywords=("hello", "hi", "hey", "你好", "你好呀呀"), whole=True)
    assert Rules({"small_talk": small_talk}).fit(message).matched == message.lower()


def test_the_first_label_that_fits_is_given() -> None:
    one, other = rule(keywords=("tea",)), rule(keywords=("tea time",))
    assert label("tea time", one=one, other=other) == "one"
    assert label("tea time", other=other, one=one) == "other"


def test_a_message_that_is_too_long_does_not_get_the_label() -> None:
    short = rule(keywords=("你好",), max_length=6)
    assert label("你好，在吗？", greeting=short) == "greeting"
    assert label("你好，你在吗？", greeting=short) is None


def test_what_decided_is_told() -> None:
    fit = Rules({"medical": MEDICAL}).fit("我 發燒 了")
    assert (fit.label, fit.matched, fit.late) == ("medical", "发烧", False)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("怎么办？$", "发烧怎么办?"),
        ("怎么办\\?$", "发烧怎么办？"),
        ("[？！]$", "真的！"),
        ("發燒", "发烧"),
        ("发烧", "發燒"),
        ("^Hello", "HELLO there"),
        ("I don’t", "i don't know"),
        ("a b", "a\n\t b"),
        ("straße", "Straße"),
        ("cafe\u0301$", "Caf\u00e9"),
        ("caf\u00e9$", "CAFE\u0301"),
        ("x\u0323\u0302", "X\u0323\u0302"),
        ("^𠮷野家", "𠮷野家"),
    ],
)
def test_patterns_and_messages_meet_however_they_are_written(pattern: str, message: str) -> None:
    assert label(message, found=rule(patterns=(pattern,))) == "found"


@pytest.mark.parametrize("pattern", ["(hi|hey", "[", "*", "(?P<a>x)(?P<a>y)\\", "", "x" * 501])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        rule(patterns=(pattern,))


@pytest.mark.parametrize("pattern", [r"(a+)+$", r".*a.*a.*a.*a.*a.*c", r"(?:a+a+)+c"])
def test_a_pattern_that_runs_away_is_stopped_and_the_other_labels_go_on(pattern: str) -> None:
    rules = Rules({"hostile": rule(patterns=(pattern,)), "other": rule(keywords=("bb",))})
    began = time.thread_time()
    fit = rules.fit("a" * (SEEN - 10) + "! bb")
    assert (fit.label, fit.late) == ("other", True)
    assert time.thread_time() - began < 100 * PATIENCE_S


def test_all_patterns_together_have_no_more_time_than_one() -> None:
    rules = Rules({f"hostile{i}": rule(patterns=(r"(a+)+$",) * 5) for i in range(20)})
    began = time.thread_time()
    assert rules.fit("a" * (SEEN - 1) + "!").late
    assert time.thread_time() - began < 100 * PATIENCE_S


def test_thousands_of_keywords_are_looked_for_in_no_time() -> None:
    words = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in range(100)]
    rules = Rules({"many": rule(keywords=(*words, *(f"茶{word}" for word in words), "bl12 x"))})
    began = time.thread_time()
    assert rules.fit("al b cm dn " * 180).label is None
    assert time.thread_time() - began < PATIENCE_S
    assert rules.fit("and bl12 x?").matched == "bl12 x"
    assert rules.fit("喝茶jt99").matched == "茶jt99"
    assert rules.fit("cbl12, bl12c").label is None


@pytest.mark.parametrize("pattern", ["a{4000000000}", "(?:(?:a{1000}){1000}){1000}", "a{0}(?:b{9999}){ 99,}"])
def test_a_pattern_that_unfolds_into_more_than_fits_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="repeats"):
        rule(patterns=(pattern,))


@pytest.mark.parametrize("said", ["what's up", "what’s up", "whatʼs up", "WHAT‘S UP"])
@pytest.mark.parametrize("written", ["what's up", "what’s up"])
def test_an_apostrophe_is_one_however_it_is_written(said: str, written: str) -> None:
    assert label(said, hello=rule(keywords=(written,))) == "hello"
    assert label(said, hello=rule(patterns=(written,))) == "hello"


def test_of_a_long_message_the_beginning_is_looked_at() -> None:
    far = rule(keywords=("fever",))
    assert label("x " * (SEEN // 2 - 5) + "fever", medical=far) == "medical"
    assert label("x " * SEEN + "fever", medical=far) is None
    assert label("hello " * SEEN, small_talk=SMALL_TALK) is None  # nobody has seen whether that is all


def test_the_last_character_that_is_looked_at_is_the_last_that_counts() -> None:
    far = rule(keywords=("fever",))
    assert label("xx " + "x " * (SEEN // 2 - 4) + "fever and more", medical=far) == "medical"
    assert label("xxx " + "x " * (SEEN // 2 - 4) + "fever and more", medical=far) is None
    assert label("fever " + "x" * (SEEN * 3 // 2), medical=far) == "medical"


def test_words_that_overlap_do_not_make_up_a_whole_message() -> None:
    assert label("你好的", small_talk=rule(keywords=("你好", "好的"), whole=True)) is None


def test_what_comes_behind_much_white_space_is_not_overlooked() -> None:
    said = "hello" + " " * 2 * SEEN + "what helps against a fever?"
    assert label(said, small_talk=SMALL_TALK) is None
    assert label(said, short=rule(keywords=("hello",), max_length=10)) is None
    assert label("hello" + " " * 3 * SEEN, small_talk=SMALL_TALK) == "small_talk"


def test_a_huge_message_costs_no_more() -> None:
    began = time.thread_time()
    label("你好 " * 1_000_000)
    assert time.thread_time() - began < 1


@given(message=st.text())
def test_no_message_is_too_strange(message: str) -> None:
    assert len(seen(message)) <= SEEN + 1
    assert label(message) in (None, "small_talk", "medical")


@given(words=st.lists(st.sampled_from(["你好", "hello", "谢谢", "，", "！", "呀", " "]), min_size=1))
def test_nothing_but_small_talk_is_small_talk(words: list[str]) -> None:
    said = " ".join(words)
    assert label(said) == ("small_talk" if {"你好", "hello", "谢谢"} & set(words) else None)


@given(
    before=st.sampled_from(["", "你好，", "hello "]), rest=st.sampled_from(["血压", "recipe", "123", "ты"])
)
def test_a_word_that_is_no_small_talk_is_enough_to_be_none(before: str, rest: str) -> None:
    assert label(f"{before}{rest}") is None
