"""What the demo model says to the steps of a pipeline, and to prompts that want data."""

from __future__ import annotations

import anyio
import pytest

from cozy.ports.llm import LLMRequest, TextChunk
from cozy.turn import Message
from tests.adapters.demo_talks import ANSWERED, CONTEXT, chunks, says

CONCIERGE = """\
Which word fits my last message best? Answer with that word only.
lookup: it asks for a fact that stands in the house's documents.
think: it takes several steps of thought, a plan or a calculation.
chat: anything else.
"""
CRITIC = (
    "Here is a draft of an answer to the message above. List what is wrong in it, or write only: OK.\n\nHi."
)
FINAL = "Here is a draft of your answer to the message above.\n\nDraft:\n你好。\n再见。\n\nCritic:\nOK."


@pytest.mark.parametrize(
    ("text", "ask", "answer"),
    [
        ("When is breakfast?", CONCIERGE, "lookup"),
        ("I need a plan for tomorrow", CONCIERGE, "think"),
        ("hi there", CONCIERGE, "chat"),
        ("hi there", CRITIC, "OK."),
        ("hi there", FINAL, "你好。\n再见。"),
        ("我叫什么？", "上面的问题，只用一个词回答：\n姓名：问名字\n其他：别的", "其他"),
    ],
    ids=["look up", "plan", "chat", "critic", "mended draft", "Chinese"],
)
async def test_steps_of_a_pipeline_are_answered_without_an_introduction(
    text: str, ask: str, answer: str
) -> None:
    assert await says(Message("user", text), Message("user", ask)) == answer


async def test_a_step_that_asks_for_the_answer_gets_it() -> None:
    ask = Message("user", "Take the question above step by step, then answer briefly.")
    assert await says(*ANSWERED, Message("user", CONTEXT + "what is my name?"), ask) == "Your name is Ada."


async def test_a_message_that_was_left_without_an_answer_is_not_taken_for_the_question() -> None:
    messages = (*ANSWERED, Message("user", "what is my name?"), Message("user", "thanks"))
    assert await says(*messages) == "You are welcome."


@pytest.mark.parametrize(("wanted", "answer"), [("array", "[]"), ("object", "{}")])
async def test_a_prompt_that_wants_json_gets_it_empty(wanted: str, answer: str) -> None:
    messages = (
        Message("system", f"Extract facts. Answer with a JSON {wanted}."),
        Message("user", "我叫小明"),
    )
    got = await chunks(LLMRequest("demo/demo", messages))
    assert "".join(c.text for c in got if isinstance(c, TextChunk)) == answer


@pytest.mark.parametrize(
    "ask",
    [
        *("one word\n" + sign * 100_000 for sign in ("\n", " ", "\t", "a", "-", "`")),
        "above\nDraft: " + "\n" * 100_000,
        "above\nDraft:" + "\nCritic " * 20_000,
    ],
    ids=lambda ask: repr(ask[-12:]),
)
async def test_a_step_s_text_may_be_hostile(ask: str) -> None:
    with anyio.fail_after(30):
        await says(Message("user", "hi"), Message("user", f"{ask} above"))
