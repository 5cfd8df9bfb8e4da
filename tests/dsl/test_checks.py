"""Rules of stages, at their edges: what just passes, and what just does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.dsl.checks import MOST_SPEAKERS, RULES
from tests.dsl.authoring import check_mia, codes

SPEAKERS = """\
pipeline:
  stages:
    prompt:
      type: render_prompt
    intent:
      type: llm
      ask: 一个词。
    one:
      type: llm
      visible: true
      when: {}
    other:
      type: llm
      visible: true
      when: {}
    save:
      type: persist
"""


def said(folder: Path, lines: str) -> list[str]:
    return codes(check_mia(folder, lines))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ('intent.text == "a"', 'intent.text != "a"', []),
        ('"a" in intent.text', 'not ("a" in intent.text)', []),
        ('intent.text|trim in ("a", "b")', 'intent.text|trim not in ("b", "a")', []),
        ('intent.text == "a"', 'intent.text == "b"', ["CZ073"]),
        ('intent.text == "a"', "intent.text", ["CZ071"]),
        ('intent.text == "a"', 'turn.text == "a"', ["CZ071"]),
        ('channel == "voice"', 'channel in ("http", "terminal", "test")', []),
        ('channel == "voice"', 'channel in ("http", "terminal")', ["CZ073"]),
        ('intent.finish_reason == "stop"', 'intent.finish_reason in ("length", "tool_calls")', ["CZ073"]),
        ("turn.text|length > 9", "turn.text|length <= 9", ["CZ071"]),
    ],
    ids=str,
)
def test_exactly_one_speaks(one: str, other: str, expected: list[str], tmp_path: Path) -> None:
    unused = [] if "intent" in one + other else ["CZ068"]
    assert said(tmp_path, SPEAKERS.format(f"({one})", f"({other})")) == [*unused, *expected]


def test_a_condition_that_does_not_parse_is_not_reasoned_about(tmp_path: Path) -> None:
    assert said(tmp_path, SPEAKERS.format("intent.text ==", "intent.text")) == ["CZ082"]


def test_a_crowd_of_speakers_is_not_compared_one_by_one(tmp_path: Path) -> None:
    stages = "".join(
        f"    s{i}:\n      type: llm\n      visible: true\n      when: turn.text == '{i}'\n"
        for i in range(MOST_SPEAKERS + 1)
    )
    lines = f"pipeline:\n  stages:\n    prompt:\n      type: render_prompt\n{stages}"
    assert said(tmp_path, lines) == ["CZ071"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("timeout: 45s\n", []),
        ("timeout: 44s\n", ["CZ079"]),
        ("stages:\n  tools:\n    timeout: 60s\n", []),
        ("stages:\n  tools:\n    timeout: 60001ms\n", ["CZ079"]),
        ("timeout: 2m\nstages:\n  tools:\n    timeout: 2m\n", []),
        ("stages:\n  tools:\n    tool_timeout: 45s\n", []),
        ("stages:\n  tools:\n    tool_timeout: 46s\n", ["CZ079"]),
        ("timeout: 10s\nstages:\n  answer:\n    timeout: 9s\n  tools:\n    timeout: 11s\n", ["CZ079"]),
    ],
)
def test_a_part_takes_no_longer_than_the_whole(lines: str, expected: list[str], tmp_path: Path) -> None:
    assert said(tmp_path, lines) == expected


def test_a_hurried_turn_is_told_of_once_for_all_stages_of_its_pipeline(tmp_path: Path) -> None:
    [problem] = check_mia(tmp_path, "timeout: 20s\n").diagnostics
    assert problem.message == "the whole turn may take 20s, but `answer` 30s and `tools` 45s"
    assert problem.place.file.endswith("mia.yaml")
    assert len(problem.related) == 2


@pytest.mark.parametrize("stage", ["budget", "prompt", "tools", "save"])
@pytest.mark.parametrize("rule", ["on_error: degrade", "when: turn.text"])
def test_what_has_no_empty_value_cannot_be_missing(stage: str, rule: str, tmp_path: Path) -> None:
    assert said(tmp_path, f"stages:\n  {stage}:\n    {rule}\n") == ["CZ077"]


@pytest.mark.parametrize("stage", ["history", "knowledge", "remember"])
@pytest.mark.parametrize("rule", ["on_error: degrade", "when: turn.text"])
def test_what_has_an_empty_value_can(stage: str, rule: str, tmp_path: Path) -> None:
    assert said(tmp_path, f"stages:\n  {stage}:\n    {rule}\n") == []


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("knowledge", []), ("answer", []), ("save", ["CZ078"]), ("tools", ["CZ078"]), ("remember", ["CZ078"])],
)
def test_only_what_reads_is_tried_again(stage: str, expected: list[str], tmp_path: Path) -> None:
    assert said(tmp_path, f"stages:\n  {stage}:\n    retries: 1\n") == expected


def test_a_hidden_model_may_degrade_and_the_speaker_may_not(tmp_path: Path) -> None:
    assert said(tmp_path, "pipeline: critic\nstages:\n  draft:\n    on_error: degrade\n") == []
    assert said(tmp_path, "pipeline: critic\nstages:\n  final:\n    on_error: degrade\n") == ["CZ076"]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ('turn.channel == "voice"', []),
        ('turn.channel == "vioce"', ["CZ087"]),
        ('channel in ("voice", "phone")', ["CZ087"]),
        ('turn.metadata.x == "anything"', []),
        ('turn.text == "a" and turn.text == "b"', ["CZ087"]),
        ('turn.text == "a" and turn.metadata.x == "b"', []),
        ("true", []),
        ("false", ["CZ087"]),
        ("knowledge_of_nothing and false", ["CZ083", "CZ087"]),
    ],
    ids=str,
)
def test_a_condition_can_come_true(when: str, expected: list[str], tmp_path: Path) -> None:
    assert sorted(said(tmp_path, f"stages:\n  memory:\n    when: {when}\n")) == expected


@pytest.mark.parametrize("name", ["after", "from"])
def test_to_wait_for_a_stage_is_not_to_take_its_value(name: str, tmp_path: Path) -> None:
    """`after` names it and nothing comes of what it gave; `from` does not take it either."""
    extra = "  extra:\n    type: llm\n    ask: 想一想\n"
    lines = f"stages:\n{extra}  answer:\n    visible: true\n    {name}: extra\n"
    assert said(tmp_path, lines) == (["CZ068"] if name == "after" else ["CZ062"])


def test_every_rule_says_what_it_is_about() -> None:
    assert all(rule.__doc__ for rule in RULES)


FETCHED = "stages:\n  knowledge:\n    top_k: {}\n"


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        ("8", []),
        ("101", ["CZ035"]),
        ("0", ["CZ035"]),
        ("2.5", ["CZ033"]),
        ("８", ["CZ033"]),
        ("1,5", ["CZ033"]),
        ("3 if channel == 'voice' else 8", []),
        ("eight", ["CZ083"]),
        ("3 if", ["CZ082"]),
        ('"{{ 3 }}"', ["CZ086"]),
        ("3 + 98", ["CZ114"]),
        ("500 if turn.channel == 'voice' else 0", ["CZ114"]),
        ("500 if turn.channel == 'voice' else 5", ["CZ114"]),
        ("5 if channel == 'voice' else -1", ["CZ114"]),
        ("5 if channel == 'voice' else 2.5", ["CZ114"]),
        ("5 if channel == 'voice' else (8 if language == 'zh' else 101)", ["CZ114"]),
        ("5 if channel == 'voice' else 'many'", ["CZ114"]),
        ("5 if channel == 'voice' else none", ["CZ114"]),
        ("5 if channel == 'voice'", ["CZ114"]),
        ("1 if channel == 'voice' else 99 + 1", []),
        ("5 if channel == 'voice' else message|length", []),
        ("3 if answer.text else 8", ["CZ066"]),
        ("('8'|int)", []),
        ("profile.text|length", ["CZ065"]),
    ],
)
def test_a_number_of_snippets_is_a_number_or_an_expression(
    top_k: str, expected: list[str], tmp_path: Path
) -> None:
    assert said(tmp_path, FETCHED.format(top_k)) == expected


@pytest.mark.parametrize("score", ["nan", "inf", "1e999", "much"])
def test_what_is_no_number_is_told_of_as_such(score: str, tmp_path: Path) -> None:
    assert said(tmp_path, f"stages:\n  knowledge:\n    min_score: {score}\n") == ["CZ033"]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("type: fetch_contxt", ["CZ031", "CZ051"]), ("type: fetch_context\n    source: knowledge", ["CZ088"])],
    ids=["unknown", "known"],
)
def test_what_a_stage_of_an_unknown_type_brings_is_not_guessed(
    stage: str, expected: list[str], tmp_path: Path
) -> None:
    lines = "context: |\n  {{ memory }} {{ more.text }}\npipeline: minimal\nstages:\n  more:\n    "
    assert said(tmp_path, f"{lines}{stage}\n") == expected


def test_speakers_that_share_the_labels_of_an_intent_answer_every_turn(tmp_path: Path) -> None:
    intent = (
        "    intent:\n      type: intent\n      default: b\n      rules:\n        a:\n          keywords: a\n"
    )
    llm = "    intent:\n      type: llm\n      ask: 一个词。\n"
    assert llm in SPEAKERS

    def told(one: str, other: str) -> list[str]:
        return said(tmp_path, SPEAKERS.replace(llm, intent).format(one, other))

    assert told('intent.label == "a"', 'intent.label == "b"') == []
    assert told('intent.label == "a"', 'intent.label == "c"') == ["CZ073", "CZ087"]


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("        small_talk: 你好\n", "CZ032"),
        ("        small_talk:\n          patterns:\n            - 你(好\n", "CZ112"),
        ("        hungry:\n          keyword: 饿\n", "CZ030"),
    ],
)
def test_a_rule_that_is_broken_is_told_of_alone(rule: str, code: str, tmp_path: Path) -> None:
    lines = f"pipeline: attentive\nstages:\n  intent:\n    rules:\n{rule}"
    lines += '  memory:\n    when: intent.label == "hungry"\n' if "hungry" in rule else ""
    assert said(tmp_path, lines) == [code]


@pytest.mark.parametrize(
    ("when", "hint"),
    [
        ("turn.channel == voice", 'a text stands in quotes: `"voice"`'),
        ("intent.label == recall", 'a text stands in quotes: `"recall"`'),
        ("intent.label == 急症", None),
        ("recall", None),
    ],
)
def test_a_text_without_quotes_is_told_of_where_it_is_one_that_fits(
    when: str, hint: str | None, tmp_path: Path
) -> None:
    lines = f"pipeline: attentive\nstages:\n  knowledge:\n    when: {when}\n"
    [found] = check_mia(tmp_path, lines).diagnostics
    assert found.code == "CZ083"
    assert found.hint == hint or (hint is None and "quotes" not in (found.hint or ""))


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ('intent.label != "recall" or intent.label != "small_talk"', ["CZ087"]),
        ('intent.label in ("recall", "small_talk", "other")', ["CZ087"]),
        ('intent.label != "recall" and intent.label != "small_talk"', []),
        ('turn.text != "a" or turn.text != "b"', ["CZ087"]),
        ('turn.text == "a" or turn.text == "b"', []),
        ('turn.text or intent.label == "other"', []),
        ("true", []),
    ],
)
def test_a_condition_that_holds_in_every_turn_is_told_of(
    when: str, expected: list[str], tmp_path: Path
) -> None:
    assert said(tmp_path, f"pipeline: attentive\nstages:\n  knowledge:\n    when: ({when})\n") == expected


def test_a_whole_intent_that_is_compared_with_a_label_is_told_of(tmp_path: Path) -> None:
    lines = 'pipeline: attentive\nstages:\n  knowledge:\n    when: intent == "recall"\n'
    [found] = check_mia(tmp_path, lines).diagnostics
    assert (found.code, found.hint) == ("CZ087", "write `intent.label`")
    assert said(tmp_path, lines.replace('== "recall"', 'and intent.by == "rules"')) == []


@pytest.mark.parametrize(
    "top_k",
    [
        '3 if intent.label == "recal" else 8',
        '8 if intent.label != "recall" else 3 if intent.label in ("小憩",) else 5',
    ],
)
def test_a_number_is_not_told_by_a_label_that_cannot_be(top_k: str, tmp_path: Path) -> None:
    assert said(tmp_path, f"pipeline: attentive\n{FETCHED.format(top_k)}") == ["CZ087"]
    possible = top_k.replace('recal"', 'recall"').replace("小憩", "small_talk")
    assert said(tmp_path, f"pipeline: attentive\n{FETCHED.format(possible)}") == []


@pytest.mark.parametrize(
    ("source", "setting", "expected"),
    [
        ("history", "stale: 1m", ["CZ081"]),
        ("knowledge", "stale: 1m", []),
        ("knowledge", "prefetch: true", ["CZ081"]),
        ("profile", "prefetch: true", []),
        ("memory", "prefetch: true", []),
    ],
)
def test_only_engines_have_old_answers_and_only_what_learns_is_fetched_ahead(
    source: str, setting: str, expected: list[str], tmp_path: Path
) -> None:
    assert said(tmp_path, f"stages:\n  {source}:\n    {setting}\n") == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("  remember: off\n", ["CZ116"]),
        ("  remember: off\n  summary: off\n", []),
        ("  summary: off\n", ["CZ116"]),
        ("  remember:\n    targets: memory\n", ["CZ116"]),
        ("  remember:\n    targets: memories\n", ["CZ034"]),
        ("  remember:\n    targets: memory\n  sum:\n    type: writeback\n    targets: summary\n", []),
    ],
)
def test_a_summary_is_kept_up_and_fetched_or_neither(lines: str, expected: list[str], tmp_path: Path) -> None:
    assert said(tmp_path, f"stages:\n{lines}") == expected


def test_a_label_needs_rules_or_a_model(tmp_path: Path) -> None:
    lines = (
        "stages:\n  intent:\n    type: intent\n    rules:\n      a:\n        description: x\n{}"
        "  memory:\n    when: intent.label == 'a'\n"
    )
    assert said(tmp_path, lines.format("")) == ["CZ113"]
    assert said(tmp_path, lines.format("    default: a\n")) == ["CZ087"]  # nor is there another one
    assert said(tmp_path, lines.format("    model:\n      temperature: 0\n")) == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [("openai/gpt-4.1-mini", []), ("opnai/gpt-4.1", ["CZ092"]), ("openai/o3", ["CZ093"])],
)
def test_the_model_of_an_intent_is_looked_at(model: str, expected: list[str], tmp_path: Path) -> None:
    lines = f"pipeline: attentive\nstages:\n  intent:\n    model:\n      name: {model}\n"
    assert said(tmp_path, lines) == expected
