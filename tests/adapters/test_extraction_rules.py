from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.extraction_rules import matters, stated

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
    "I moved to Lyon last month": ["basic_info/city: Lyon"],
    "I've moved to Cape Town a year ago": ["basic_info/city: Cape Town"],
    "I lived in Rome. I moved to Oslo in 2020": ["basic_info/city: Oslo"],
    "I like tea, coffee and long walks": [
        "interest/tea: likes it",
        "interest/coffee: likes it",
        "interest/long walks: likes it",
    ],
    "I don't like fish but I love sushi": ["interest/fish: dislikes it", "interest/sushi: likes it"],
    "I don't like oolong tea any more": ["interest/oolong tea: dislikes it"],
    "I no longer love hiking": ["interest/hiking: dislikes it"],
    "I don't eat meat or fish": ["interest/meat: does not eat it", "interest/fish: does not eat it"],
    "I really can't stand my neighbours": ["interest/their neighbours: dislikes it"],
    "My favourite colour is green": ["interest/favorite colour: green"],
    "I am a senior software engineer at Google": ["work/job: senior software engineer"],
    "I work for Google in Berlin": ["work/employer: Google"],
    "I'm allergic to peanuts and shellfish, what can I eat?": [
        "health/peanuts: allergic",
        "health/shellfish: allergic",
    ],
    "my birthday is on May 3rd": ["basic_info/birthday: May 3rd"],
    "I have a dog named Rex": ["family/dog: Rex"],
    "I have two cats": ["family/cats: two cats"],
    "My wife's name is Eva": ["family/wife: Eva"],
    "I am Bob from Paris": ["basic_info/name: Bob"],
    "no, my name is Bob": ["basic_info/name: Bob"],
    "I changed my name to Rob": ["basic_info/name: Rob"],
    "im Ada and im 30": ["basic_info/name: Ada", "basic_info/age: 30"],
    "Please remember: I live in Oslo": ["basic_info/city: Oslo"],
    "Ｍｙ ｎａｍｅ ｉｓ Ａｄａ": ["basic_info/name: Ada"],
}
CHINESE = {
    "我叫小明，今年30岁，是医生，住在北京，喜欢爬山，对花生过敏": [
        "basic_info/name: 小明",
        "basic_info/age: 30",
        "work/job: 医生",
        "basic_info/city: 北京",
        "interest/爬山: 喜欢",
        "health/花生: 过敏",
    ],
    "我的名字是王小红。我是一名软件工程师。": ["basic_info/name: 王小红", "work/job: 软件工程师"],
    "我叫小明，你叫什么？": ["basic_info/name: 小明"],
    "你可以叫我“老王”": ["basic_info/name: 老王"],
    "我叫阿卜杜拉·买买提": ["basic_info/name: 阿卜杜拉·买买提"],
    "我在杭州住了十年": ["basic_info/city: 杭州"],
    "我住在上海已经三年了": ["basic_info/city: 上海"],
    "我去年搬到成都了": ["basic_info/city: 成都"],
    "我搬到三亚两个月了": ["basic_info/city: 三亚"],
    "我来自四川成都": ["basic_info/hometown: 四川成都"],
    "我喜欢喝茶和咖啡，不喜欢香菜。": [
        "interest/茶: 喜欢喝",
        "interest/咖啡: 喜欢",
        "interest/香菜: 不喜欢",
    ],
    "我爱和平": ["interest/和平: 喜欢"],
    "我讨厌下雨天": ["interest/下雨天: 不喜欢"],
    "我不喜欢喝乌龙茶了": ["interest/乌龙茶: 不喜欢喝"],
    "我喜欢看电影、听歌和打篮球": ["interest/电影: 喜欢看", "interest/歌: 喜欢听", "interest/打篮球: 喜欢"],
    "我不吃香菜，也不能吃辣": ["interest/香菜: 不吃", "interest/辣: 不吃"],
    "我最喜欢的颜色是蓝色": ["interest/最喜欢的颜色: 蓝色"],
    "我在腾讯上班": ["work/workplace: 腾讯"],
    "我今年三十岁了": ["basic_info/age: 三十"],
    "今年35岁": ["basic_info/age: 35"],
    "我对海鲜过敏，晚饭能吃什么？": ["health/海鲜: 过敏"],
    "我的生日是5月3日": ["basic_info/birthday: 5月3日"],
    "我女儿叫小美": ["family/女儿: 小美"],
    "我家养了两条狗": ["family/狗: 两条狗"],
    "记住：我叫小李": ["basic_info/name: 小李"],
    "我叫Ada，我喜欢Python": ["basic_info/name: Ada", "interest/python: 喜欢"],
    "我改名叫小红了": ["basic_info/name: 小红"],
    "不对，我现在叫李雷": ["basic_info/name: 李雷"],
    "以后就叫我老王吧": ["basic_info/name: 老王"],
    "我是小王": ["basic_info/name: 小王"],
    "我叫𠮷": ["basic_info/name: 𠮷"],
    "我叫𠮷田，住在㐂乡": ["basic_info/name: 𠮷田", "basic_info/city: 㐂乡"],
    "我是上海人，刚从上海搬到深圳": ["basic_info/hometown: 上海", "basic_info/city: 深圳"],
    "我有一只猫叫咪咪": ["family/猫: 咪咪"],
    "我有一只猫，叫咪咪": ["family/猫: 一只猫", "family/猫: 咪咪"],
    "我叫陳大文，住喺香港，對花生過敏": [
        "basic_info/name: 陳大文",
        "basic_info/city: 香港",
        "health/花生: 过敏",
    ],
    "我喜歡喝烏龍茶，討厭下雨": ["interest/烏龍茶: 喜欢喝", "interest/下雨: 不喜欢"],
    "我家養了兩隻貓": ["family/貓: 兩隻貓"],
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
        ("我對花生過敏，喜歡喝茶", ["用户对花生过敏", "用户喜欢喝茶"]),
        ("請記住：明天買牛奶", ["用户让记住：明天買牛奶"]),
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
            "我有几个孩子",
            "我有幾個孩子",
            "我叫什麼名字",
            "他說我是醫生",
            "我是好人",
            "我是男人",
            "我是外国人",
            "我不吃了",
            "我要搬到深圳",
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
    assert stated("我老婆叫小芳，今年30岁，喜欢跳舞").sentences() == ["用户的老婆叫小芳"]
    assert stated("I have a cat and like tea").sentences() == ["The user has a cat", "The user likes tea"]


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ("My name is Ada", "my name is Bob"),
        ("My name is Ada", "我叫小明"),
        ("I live in Rome", "我搬到北京了"),
        ("I like tea", "I don't like tea any more"),
        ("I like tea", "I don't drink tea"),
        ("我喜欢喝乌龙茶", "我不喜欢乌龙茶了"),
        ("我喜歡喝烏龍茶", "我不喜歡烏龍茶了"),
        ("I'm 30", "I am 31 years old"),
        ("I'm a nurse", "I work as a pilot"),
        ("我是医生", "我是一名律师"),
        ("My cat is called Tom", "I have a cat named Rex"),
        ("我有一只猫", "我的猫叫咪咪"),
        ("My favourite colour is green", "my favourite colour is red"),
        ("我最喜欢的颜色是蓝色", "我最喜欢的颜色是红色"),
        ("I'm allergic to nuts", "I am allergic to nuts"),
    ],
)
def test_a_sentence_tells_what_matter_it_is_about(said: str, other: str) -> None:
    (old,), (new,) = stated(said).statements, stated(other).statements
    assert (new.topic, new.sub_topic) in matters(old.sentence)
    assert (old.topic, old.sub_topic) in matters(new.sentence)


def test_sentences_about_different_things_share_no_matter() -> None:
    told = (
        *("My name is Ada", "I live in Rome", "I'm from Oslo", "I like tea", "I like rain", "I'm 30"),
        *("I'm allergic to tea", "I'm a nurse", "I work for Google", "I have two cats", "I have a dog"),
        *("My favourite tea is green", "my birthday is May 3rd", "我喜欢咖啡", "我最喜欢的茶是龙井"),
        *("我对虾过敏", "我在腾讯上班", "我女儿叫小美", "我有两只兔子"),
    )
    statements = [stated(text).statements[0] for text in told]
    for one in statements:
        about = {(s.topic, s.sub_topic) for s in statements} & matters(one.sentence)
        assert about == {(one.topic, one.sub_topic)}, one
    assert matters("The user asked to remember: buy milk") == matters("Cats purr") == frozenset()


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
