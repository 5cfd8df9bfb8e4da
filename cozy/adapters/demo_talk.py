"""What the demo model says of itself, and to small talk."""

from __future__ import annotations

import re

from cozy.adapters.demo_turn import Turn
from cozy.traditional import simplified

CONNECT_EN = "For a real model, set OPENAI_API_KEY, or a provider in cozy.toml."
CONNECT_ZH = "要接上真正的模型，请设置 OPENAI_API_KEY，或在 cozy.toml 里配置 provider。"
SELF_EN = f"I am Cozy's built-in demo model and only follow simple rules. {CONNECT_EN}"
SELF_ZH = f"我是 Cozy 自带的演示模型，只会照简单的规则回答。{CONNECT_ZH}"
INTRODUCTION_EN = f"({SELF_EN})"
INTRODUCTION_ZH = f"（{SELF_ZH}）"

_HOW_EN = (
    "Set OPENAI_API_KEY or DEEPSEEK_API_KEY, or a provider with a `default_model` in cozy.toml, and start"
    " Cozy again: it answers wherever a personality names no model."
    " `cozy chat --model provider/name` tries one."
)
_HOW_ZH = (
    "设置 OPENAI_API_KEY 或 DEEPSEEK_API_KEY，或在 cozy.toml 里配置带 `default_model` 的 provider，"
    "再重新启动 Cozy：没有指定模型的角色都会用它。想临时试一个，用 `cozy chat --model provider/name`。"
)
_FORGETTING_EN = (
    "I cannot forget by myself: `cozy memory list` shows what is kept, `cozy memory forget ID` removes it."
)
_FORGETTING_ZH = "我自己没法忘记：`cozy memory list` 列出记住的内容，`cozy memory forget ID` 把它删掉。"
_LONGEST_QUOTE = 200


def introduced(text: str, turn: Turn) -> str:
    """With a word about who speaks, in the first answer of a conversation; a short one to whom it knows."""
    if turn.answered:
        return text
    says_so = "演示模型" in text or "demo model" in text
    if turn.facts:
        return text if says_so else f"{text}（演示模型）" if turn.chinese else f"{text} (demo model)"
    if not says_so:
        return f"{text}\n\n{INTRODUCTION_ZH if turn.chinese else INTRODUCTION_EN}"
    if "OPENAI_API_KEY" in text:
        return text
    return f"{text}{CONNECT_ZH}" if turn.chinese else f"{text} {CONNECT_EN}"


_CONNECT = re.compile(
    r"\b(?:connect|set ?up|configure|install|add|use|switch to|change|choose|get)\b.{0,30}"
    r"\b(?:models?|llm|openai|chatgpt|gpt|ollama|deepseek|claude|vllm|api ?keys?|providers?)\b|\breal model\b"
    r"|(?:接入|接上|连接|连上|设置|配置|换成?|切换|使用|用上|怎么用).{0,12}"
    r"(?:模型|openai|chatgpt|gpt|ollama|deepseek|claude|api|key|密钥)|真正的模型",
    re.IGNORECASE,
)
_FORGET = re.compile(
    r"(?:^|\b(?:please|can you|could you|now|and|just)\s+|[,.!]\s*)(?:forget|delete|erase|remove|clear)\b"
    r".{0,30}\b(?:me|my|memory|memories|everything|that|what i|about)\b"
    r"|(?<![我别要])(?:忘[记掉了]|删除|删掉|清除|清空).{0,6}(?:我|记忆|记录|一切|全部|所有|这件|那件)"
    r"|(?:把|将)我.{0,12}(?:忘|删)",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"\bwhat did i (?:just )?(?:say|ask|tell you|write)(?!(?: \w+)? about\b)"
    r"|\bwhat was my (?:last|previous) (?:message|question)"
    r"|我(?:刚才|刚刚|上一句|前面)?(?:跟你)?(?:说|问)(?:了|过)?(?:些)?(?:什么|啥)",
    re.IGNORECASE,
)


def about_this(turn: Turn) -> str | None:
    """What it says to questions about the conversation and about models; None to all others."""
    words, chinese = simplified(turn.now.words), turn.chinese
    if _FORGET.search(words):
        return _FORGETTING_ZH if chinese else _FORGETTING_EN
    if _CONNECT.search(words):
        return _HOW_ZH if chinese else _HOW_EN
    if _SAID.search(words):
        said = " ".join(next(iter(turn.said), "").split())
        quote = said if len(said) <= _LONGEST_QUOTE else said[: _LONGEST_QUOTE - 1] + "…"
        if chinese:
            return f"你刚才说：“{quote}”" if quote else "这次对话里你还没有说过别的。"
        return f"You said: “{quote}”" if quote else "Nothing else in this conversation."
    return None


_GREETING = re.compile(
    r"(?:(?:hi|hello|hey|good (?:morning|afternoon|evening))\b(?:[\s,]+\w{1,12})?"
    r"|(?:你好|您好|嗨|哈喽|哈啰|早上好|下午好|晚上好|早安?)(?:[啊呀吗]|[\s,，]*小\w{1,2}|[\s,，]+\w{1,8})?)"
    r"[\s!！.。~～]*",
    re.IGNORECASE,
)
_THANKS = re.compile(r"\b(?:thanks|thank you|thx)\b|谢谢|多谢|感谢", re.IGNORECASE)
_GOODBYE = re.compile(r"\b(?:bye|goodbye|good night|see you)\b|再见|拜拜|晚安", re.IGNORECASE)
_WHO = re.compile(
    r"\b(?:who|what) are you\b|\bwho (?:made|built|created) you\b|\bwhat(?:'s| is) your name\b"
    r"|\bare you (?:a |an )?(?:ai|real|human|bot|robot|person|llm|chatgpt|gpt|claude|language model|model)\b"
    r"|\bwh(?:at|ich) (?:\w+ )?model\b.{0,12}\b(?:are|is|do) (?:you|this)\b"
    r"|你(?:到底)?是(?:谁|什么|啥|真人|机器人|人工智能|人吗|ai|chatgpt|gpt|claude|哪个模型)|你叫(?:什么|啥)"
    r"|你的名字|谁(?:做|开发|创造|发明)了?的?你|什么模型|自我介绍|介绍一下你自己",
    re.IGNORECASE,
)
_WELL = re.compile(
    r"\bhow are you\b|\bhow(?:'s| is) it going\b|\bwhat'?s up\b"
    r"|^你?(?:最近)?(?:好吗|怎么样)|^在(?:吗|不在)|^吃了吗",
    re.IGNORECASE,
)
_ABLE = re.compile(
    r"\bwhat (?:can|do) you do\b|\bhelp\b\W*$"
    r"|你(?:都)?(?:能|会|可以)(?:做|干)?(?:什么|些什么|啥)|怎么用|^帮助$",
    re.IGNORECASE,
)
_NODS = re.compile(
    r"(?:ok(?:ay)?|k|lol|ha(?:ha)+|hm+|wow|nice|cool|great|good|sure|fine|yes|yeah|yep|no|nope|i see|got it"
    r"|never ?mind|好[的吧呀啊]?|嗯+|哦+|噢+|行[吧啊]?|可以|哈+|呵+|嘿+|是[的啊]?|对[的啊]?|不是|没有|没事"
    r"|知道了|明白了?|收到|原来如此)"
    r"[\s!！.。~～,，]*",
    re.IGNORECASE,
)


def small_talk(turn: Turn) -> str | None:
    """A few words to whoever only says a few; None to everything else."""
    words, chinese = simplified(turn.now.words).replace("’", "'"), turn.chinese
    if _GREETING.fullmatch(words):
        name = next((fact.text for fact in turn.facts if fact.kind == "name"), "")
        if chinese:
            return f"你好，{name}！" if name else "你好！"
        return f"Hello, {name}!" if name else "Hello!"
    if _WHO.search(words):
        return SELF_ZH if chinese else SELF_EN
    if _WELL.search(words):
        return "我在，一切正常。" if chinese else "All is well, thank you."
    if _ABLE.search(words):
        return abilities(turn)
    if _THANKS.search(words):
        return "不客气。" if chinese else "You are welcome."
    if _GOODBYE.search(words):
        return "再见！" if chinese else "Goodbye!"
    if _NODS.fullmatch(words) or (words and not re.search(r"[\w?？]", words)):
        return "好的。" if chinese else "All right."
    return None


def beyond(turn: Turn) -> str:
    """That this is beyond simple rules, and, once in a conversation, what is not."""
    able = abilities(turn)
    plainly = "这超出了演示模型的能力。" if turn.chinese else "That is beyond a demo model."
    if any(able in answer for answer in turn.answered):
        return plainly
    return f"{plainly}{able}" if turn.chinese else f"{plainly} {able}"


_ABILITIES = {
    "current_time": ("tell the time", "报时"),
    "calculator": ("calculate", "算术"),
    "unit_convert": ("convert units", "换算单位"),
    "random_choice": ("choose at random", "随机挑选"),
}


def abilities(turn: Turn) -> str:
    """What it can do with the tools that it has here."""
    able = [pair for tool in turn.tools if (pair := _ABILITIES.get(tool.name.rpartition("/")[2]))]
    able += [
        ("remember what you tell me", "记住你告诉我的事"),
        ("quote the documents at hand", "引用手头的资料"),
    ]
    if turn.chinese:
        return f"我会：{'、'.join(chinese for _, chinese in able)}。"
    *first, last = (english for english, _ in able)
    return f"I can {', '.join(first)} and {last}."
