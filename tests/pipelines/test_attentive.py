"""What the shipped pipeline `attentive` takes realistic messages for.

Small talk goes without knowledge and memory, so that a question taken for it is the worse mistake.
"""

from __future__ import annotations

import pytest

from cozy.dsl.check import check
from cozy.dsl.project import Sources, read_project
from cozy.stages.intent import IntentSettings
from cozy.stages.intent_rules import Rules
from tests.dsl.authoring import MIA
from tests.dsl.checking import ROOT, WORLD


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    folder = tmp_path_factory.mktemp("attentive")
    (folder / "personalities").mkdir()
    (folder / "personalities" / "mia.yaml").write_text(MIA + "pipeline: attentive\n", "utf-8")
    result = check(read_project(Sources(pipelines=(ROOT / "pipelines",), files=(folder,))), WORLD)
    settings = next(s.settings for s in result.personalities[0].stages if s.id == "intent")
    assert isinstance(settings, IntentSettings)
    return Rules(settings.rules)


SMALL_TALK = (
    "hi", "Hello!", "hey there", "Good morning :)", "good evening 🌙", "thanks!",
    "Thank you so much!!", "OK", "Okay.", "bye", "See you later", "how are you?", "你好",
    "你好呀！", "妳好", "您好，在吗？", "你好吗", "哈喽", "嗨～", "早上好☀️", "晚安啦", "谢谢你哦",
    "謝謝您", "好的，谢谢", "拜拜👋", "再見！", "在嗎", "hi你好", "ＯＫ", "hello 你好 👋🏽",
)  # fmt: skip
RECALL = (
    "谢谢，我上次说的药叫什么？", "你还记得我吗？", "之前講過的那家餐廳", "上一次我们说到哪里",
    "刚才我说了什么", "前几天我跟你提过的书", "What did I say last week?",
    "hi, do you remember my dog?", "as I said before", "I told you about a book",
    "we talked about Paris, which museum was it?",
)  # fmt: skip
QUESTIONS = (
    "你好，我发烧了怎么办", "你好了吗", "ok了吗", "好的吗", "好了吗", "在吗？帮我看看体检报告",
    "好的那我的生日是哪天", "再见是什么意思", "晚安用英语怎么说", "我喜欢什么", "我叫什么名字？",
    "好的医院有哪些", "不好的", "谢谢是谁唱的", "hello world in rust?",
    "how are you feeling about my plan", "Thanks, and where does my sister live?",
    "bye bye birdie?", "what's my name?", "hi-fi speakers", "OK Google 怎么关", "你好𠮷",
    "good morning in Thai?", "你好吗啡是什么", "你好，３＋５＝？",
)  # fmt: skip


@pytest.mark.parametrize(
    ("message", "label"),
    [
        *((message, "small_talk") for message in SMALL_TALK),
        *((message, "recall") for message in RECALL),
        *((message, None) for message in QUESTIONS),
    ],
)
def test_a_message_gets_the_label_that_people_would_give_it(
    message: str, label: str | None, rules: Rules
) -> None:
    assert rules.fit(message).label == label
