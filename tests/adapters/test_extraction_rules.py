from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.extraction_rules import stated

ENGLISH = {
    "My name is Ada Lovelace and I live in Paris, France.": [
        "basic_info/name: Ada Lovelace",
        "basic_info/city: Paris",
    ],
    "hi there! I'm Ada, I'm 36 years old and work as a nurse at Charité": [
        "basic_info/name: Ada",
        "basic_info/age: 36",
        "work/job: nurse",
    ],
    "call me bob": ["basic_info/name: bob"],
    "I’m from Brazil": ["basic_info/hometown: Brazil"],
    "I recently moved to New York, by the way": ["basic_info/city: New York"],
    "I like tea, coffee and long walks": [
        "interest/tea: likes tea",
        "interest/coffee: likes coffee",
        "interest/long walks: likes long walks",
    ],
    "I don't like fish but I love sushi": ["interest/fish: dislikes fish", "interest/sushi: likes sushi"],
    "I really can't stand my neighbours": ["interest/their neighbours: dislikes their neighbours"],
    "My favourite colour is green": ["interest/favorite colour: green"],
    "I am a senior software engineer at Google": ["work/job: senior software engineer"],
    "I work for Google in Berlin": ["work/employer: Google"],
    "I'm allergic to peanuts and shellfish, what can I eat?": [
        "health/allergy peanuts: allergic to peanuts",
        "health/allergy shellfish: allergic to shellfish",
    ],
    "my birthday is on May 3rd": ["basic_info/birthday: May 3rd"],
    "I have a dog named Rex": ["family/dog: Rex"],
    "I have two cats": ["family/cats: two cats"],
    "My wife's name is Eva": ["family/wife: Eva"],
    "Please remember: I live in Oslo": ["basic_info/city: Oslo"],
    "Ｍｙ ｎａｍｅ ｉｓ Ａｄａ": ["basic_info/name: Ada"],
}
CHINESE = {
    "我叫小明，今年30岁，是医生，住在北京，喜欢爬山，对花生过敏": [
        "basic_info/name: 小明",
        "basic_info/age: 30",
        "work/job: 医生",
        "basic_info/city: 北京",
        "interest/爬山: 喜欢爬山",
        "health/花生过敏: 对花生过敏",
    ],
    "我的名字是王小红。我是一名软件工程师。": ["basic_info/name: 王小红", "work/job: 软件工程师"],
    "我叫小明，你叫什么？": ["basic_info/name: 小明"],
    "你可以叫我“老王”": ["basic_info/name: 老王"],
    "我叫阿卜杜拉·买买提": ["basic_info/name: 阿卜杜拉·买买提"],
    "我在杭州住了十年": ["basic_info/city: 杭州"],
    "我来自四川成都": ["basic_info/hometown: 四川成都"],
    "我喜欢喝茶和咖啡，不喜欢香菜。": [
        "interest/喝茶: 喜欢喝茶",
        "interest/咖啡: 喜欢咖啡",
        "interest/香菜: 不喜欢香菜",
    ],
    "我爱和平": ["interest/和平: 喜欢和平"],
    "我讨厌下雨天": ["interest/下雨天: 不喜欢下雨天"],
    "我最喜欢的颜色是蓝色": ["interest/最喜欢的颜色: 蓝色"],
    "我在腾讯上班": ["work/workplace: 腾讯"],
    "我今年三十岁了": ["basic_info/age: 三十"],
    "今年35岁": ["basic_info/age: 35"],
    "我对海鲜过敏，晚饭能吃什么？": ["health/海鲜过敏: 对海鲜过敏"],
    "我的生日是5月3日": ["basic_info/birthday: 5月3日"],
    "我女儿叫小美": ["family/女儿: 小美"],
    "我家养了两条狗": ["family/狗: 两条狗"],
    "记住：我叫小李": ["basic_info/name: 小李"],
    "我叫Ada，我喜欢Python": ["basic_info/name: Ada", "interest/python: 喜欢Python"],
}


@pytest.mark.parametrize(("text", "facts"), [*ENGLISH.items(), *CHINESE.items()])
def test_what_people_say_of_themselves_is_understood(text: str, facts: list[str]) -> None:
    assert [f"{s.topic}/{s.sub_topic}: {s.content}" for s in stated(text).statements] == facts


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("I'm Ada. I hate rain.", ["The user's name is Ada", "The user dislikes rain"]),
        ("I am an architect, I live in Rome", ["The user is an architect", "The user lives in Rome"]),
        ("我叫小明，住在北京，对花生过敏", ["用户的名字是小明", "用户住在北京", "用户对花生过敏"]),
        (
            "Remember that my sister's exam is on Friday",
            ["The user asked to remember: my sister's exam is on Friday"],
        ),
        ("please don't forget to water the plants!", ["The user asked to remember: to water the plants"]),
        ("请记住我下周三有体检。", ["用户让记住：我下周三有体检"]),
        ("I like tea. I like tea!", ["The user likes tea"]),
    ],
)
def test_memories_are_sentences_in_the_user_s_language(text: str, sentences: list[str]) -> None:
    assert stated(text).sentences() == sentences


@pytest.mark.parametrize(
    "text",
    [
        *("what is my name?", "what is my name", "who am I", "do I like tea?", "I like tea or coffee?"),
        *("I live in Rome, or in Milan?", "My name is Ada, right?", "Do you remember that I like tea?"),
        *("If I live in Paris, what should I eat?", "I wish I lived in Rome", "Imagine I am a doctor"),
        *("My friend said I am a doctor", 'She told me "I live in Rome"', "translate: I live in Rome"),
        *("> I live in Rome", "```\nI live in Rome\n```", "`my name is Bob`"),
        *(
            "I'm tired",
            "I'm Chinese",
            "I'm going home",
            "I am 5 minutes late",
            "I'm a beginner",
            "I'm a bit lost",
        ),
        *("Call me later", "My name is not Bob", "My name is hard to spell", "I'm not allergic to nuts"),
        *(
            "I'd like tea",
            "I love you",
            "I like it",
            "I live here",
            "I used to live in Rome",
            "I am 900 years old",
        ),
        *("remember me?", "remember when we met", "remember this", "You are a doctor", "He lives in Rome"),
        *(
            "我叫什么名字？",
            "我叫什么名字",
            "我是谁",
            "我喜欢茶吗？",
            "我喜欢喝茶还是咖啡？",
            "我是不是医生",
            "你记得我叫什么吗",
        ),
        *(
            "如果我住在北京，我该去哪里玩？",
            "他说我是医生",
            "妈妈说我喜欢茶",
            "假装我是医生",
            "请翻译：我叫小明",
            "“我叫小明”用英语怎么说",
        ),
        *(
            "我叫外卖",
            "我叫了一辆车",
            "我叫你停下",
            "我住院了",
            "我喜欢你",
            "我爱人是医生",
            "我是素食者",
            "我不叫小明",
        ),
        *(
            "我不是医生",
            "我不住在北京",
            "我对花生不过敏",
            "我儿子今年3岁",
            "他叫小红，今年3岁",
            "记住",
            "记住我",
            "你叫小明",
        ),
        *("", "？", "I", "我", "I am", "我叫", "My name is ", "I like"),
    ],
)
def test_the_rest_teaches_nothing(text: str) -> None:
    assert stated(text).sentences() == []


def test_a_new_subject_ends_what_went_on() -> None:
    assert stated("我叫小明，住在北京，我哥哥很高，喜欢打球").sentences() == [
        "用户的名字是小明",
        "用户住在北京",
    ]


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            ["I'm ", "我", "叫", "喜欢", "call me ", "Ada", ", and ", "remember ", "“", "\n", "?", "过敏"]
        )
    ).map("".join)
)
def test_any_text_can_be_read(text: str) -> None:
    for statement in stated(text).statements:
        assert statement.topic
        assert statement.sub_topic
        assert statement.content
        assert statement.sentence in stated(text).sentences()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "I am " * 50_000,
            "我喜欢" * 50_000,
            "我很" * 100_000,
            "我真的" * 50_000,
            '"' * 200_000,
            "“" * 200_000,
        ),
        *(
            "remember " * 30_000,
            "我在" + "住" * 200_000,
            ", and" * 50_000,
            "hi " * 50_000,
            "call me " * 30_000,
        ),
        *(
            "my name is " + "a" * 200_000,
            "```" * 50_000,
            "> " * 50_000,
            "请" * 200_000,
            "I have a " + "x " * 50_000,
        ),
        *("我有对" * 66, "我在" * 100, "我的我的" * 50, "I " * 100, "I really " * 22, "- " * 100),
    ],
    ids=lambda text: f"{text[:8]}…{len(text)}",
)
def test_hostile_text_is_read_in_bounds(text: str) -> None:
    assert len(stated(text).sentences()) < 100
