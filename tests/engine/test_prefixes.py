"""How much of a prompt its server has seen before."""

from __future__ import annotations

from cozy.engine.prefixes import PrefixLog
from cozy.turn import Message, ToolCall


def said(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("user", text) for text in texts)


def test_the_first_prompt_of_a_conversation_matches_nothing() -> None:
    assert PrefixLog().matched("a", said("x", "y")) == 0


def test_what_is_the_same_from_the_beginning_matches() -> None:
    log = PrefixLog()
    log.matched("a", said("你好", "x"))
    assert log.matched("a", said("你好", "x", "more")) == 2
    assert log.matched("a", said("你好", "y", "more")) == 1


def test_nothing_behind_a_difference_matches() -> None:
    log = PrefixLog()
    log.matched("a", said("x", "y"))
    assert log.matched("a", said("z", "y")) == 0


def test_each_prompt_is_held_against_the_one_before_it() -> None:
    log = PrefixLog()
    for text in ("x", "y"):
        log.matched("a", said(text))
    assert log.matched("a", said("x")) == 0


def test_conversations_do_not_mix() -> None:
    log = PrefixLog()
    log.matched("a", said("x"))
    assert log.matched("b", said("x")) == 0


def test_calls_and_their_results_are_part_of_what_is_compared() -> None:
    log = PrefixLog()
    call = Message("assistant", tool_calls=(ToolCall("1", "clock", "{}"),))
    log.matched("a", [call])
    assert log.matched("a", [Message("assistant")]) == 0
    log.matched("a", [call])
    assert log.matched("a", [call]) == 1


def test_the_conversations_that_were_silent_longest_are_forgotten() -> None:
    log = PrefixLog(conversations=2)
    for name in ("a", "b", "a", "c"):  # b is the one that was silent longest
        log.matched(name, said("x"))
    assert [log.matched(name, said("x")) for name in ("a", "b")] == [1, 0]
