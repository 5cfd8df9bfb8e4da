from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel

from cozy.dsl.diagnostics import Place, as_text
from cozy.dsl.parse import parse_text
from cozy.dsl.spec import PersonalitySpec, PipelineSpec
from cozy.dsl.validate import Validated, validate
from cozy.stages.base import Settings
from cozy.stages.fetch_context import FetchContextSettings
from cozy.stages.intent import IntentSettings
from cozy.stages.llm import LlmSettings
from cozy.stages.model import ModelSettings
from cozy.stages.registry import stage_types

HEAD = "id: mia\nname: 米娅\n"


def read(model: type[BaseModel], text: str) -> Validated[BaseModel]:
    parsed = parse_text(text, Path("f"), "f")
    assert parsed.document is not None
    return validate(model, parsed.document.data, parsed.document, "a thing")


def told(model: type[BaseModel], text: str) -> list[str]:
    """What is said of it, excerpts aside."""
    return as_text(read(model, text).diagnostics, {}).split("\n")


def test_text_becomes_what_the_fields_take() -> None:
    validated = read(
        LlmSettings,
        "type: llm\ntimeout: 500ms\nvisible: yes\nretries: '2'\nfrom: prompt\n"
        "model:\n  temperature: 0.7\n  stop: 停\n",
    )
    assert validated.sound
    assert validated.value == LlmSettings(
        type="llm",
        timeout=0.5,
        visible=True,
        retries=2,
        from_=("prompt",),
        model=ModelSettings(temperature=0.7, stop=("停",)),
    )


def test_a_key_with_nothing_behind_it_says_nothing() -> None:
    text = HEAD + "model:\nvoice:\nstages:\ntools:\nmetadata:\ntimeout:\nlanguage:\nprompt:\n"
    assert read(PersonalitySpec, text).value == PersonalitySpec(id="mia", name="米娅")


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("2s", 2), ("1.5 m", 90), (" 1s ", 1)])
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert read(PipelineSpec, f"timeout: '{text}'\n").value == PipelineSpec(timeout=seconds)


def test_a_pipeline_is_a_name_or_a_mapping() -> None:
    assert read(PersonalitySpec, HEAD + "pipeline: critic\n").value == PersonalitySpec(
        id="mia", name="米娅", pipeline="critic"
    )
    inline = read(PersonalitySpec, HEAD + "pipeline:\n  timeout: 5s\n").value
    assert inline == PersonalitySpec(id="mia", name="米娅", pipeline=PipelineSpec(timeout=5))


def test_a_mistake_in_a_pipeline_of_ones_own_is_told_of_in_its_place() -> None:
    assert told(PersonalitySpec, HEAD + "pipeline:\n  timeuot: 5s\n  description:\n    a: b\n") == [
        "error: f:4:3: `pipeline` has no key `timeuot` [CZ030]",
        "hint: did you mean `timeout`?",
        "",
        "error: f:5:3: `description` should be a text, not a mapping [CZ032]",
        "hint: `description`: what it is for, in a line",
    ]


def test_python_names_are_no_keys() -> None:
    assert told(FetchContextSettings, "type: fetch_context\nsource: memory\nfrom_: x\n") == [
        "error: f:3:1: a thing has no key `from_` [CZ030]",
        "hint: did you mean `from`?",
    ]


def test_a_mistyped_key_is_not_missing_as_well() -> None:
    assert told(PersonalitySpec, "id: mia\nnmae: 米娅\n") == [
        "error: f:2:1: a thing has no key `nmae` [CZ030]",
        "hint: did you mean `name`?",
    ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("temperature", "it belongs in `model`, indented below it"),
        ("tempreature", "did you mean `temperature`? it belongs in `model`, indented below it"),
        ("visibel", "did you mean `visible`?"),
    ],
)
def test_a_key_is_looked_for_in_the_mappings_within(key: str, hint: str) -> None:
    assert told(LlmSettings, f"type: llm\n{key}: 0\n") == [
        f"error: f:2:1: a thing has no key `{key}` [CZ030]",
        f"hint: {hint}",
    ]


@pytest.mark.parametrize(("given", "meant"), [("0,7", "0.7"), ("０．７", "0.7"), ("0，7", "0.7")])
def test_a_number_of_another_keyboard_is_understood(given: str, meant: str) -> None:
    assert told(PersonalitySpec, HEAD + f"model:\n  temperature: {given}\n") == [
        f"error: f:4:16: `temperature` should be a number, not `{given}` [CZ033]",
        f"hint: did you mean `{meant}`?",
    ]


def test_what_is_below_a_mistyped_key_is_looked_at_too() -> None:
    assert told(PersonalitySpec, HEAD + "modle:\n  name: gpt-4o\n  seed: x\n") == [
        "error: f:3:1: a thing has no key `modle` [CZ030]",
        "hint: did you mean `model`?",
        "",
        "error: f:4:9: `name` cannot be `gpt-4o` [CZ037]",
        "hint: `name`: `provider/model`; `auto`, or nothing, is the installation's default",
        "",
        "error: f:5:9: `seed` should be a whole number, not `x` [CZ033]",
        "hint: `seed`: the same seed asks the server for the same answer",
    ]


@pytest.mark.parametrize("word", ["null", "None", "~"])
def test_there_is_no_word_for_nothing(word: str) -> None:
    assert told(PersonalitySpec, HEAD + f"model:\n  seed: {word}\n") == [
        f"error: f:4:9: `seed` cannot be `{word}` [CZ038]",
        "hint: for no value, leave the key out",
    ]


def test_a_long_value_is_shown_by_its_beginning() -> None:
    [first, *_] = told(PersonalitySpec, HEAD + f"timeout: {'很长' * 40}\n")
    assert "很长…`" in first
    assert len(first) < 140


def test_what_a_plugins_own_validator_says_is_passed_on() -> None:
    def even(value: int) -> int:
        if value % 2:
            raise ValueError("Must be even.")
        return value

    class PluginSettings(Settings):
        count: Annotated[int, AfterValidator(even)]
        """How many."""

    assert told(PluginSettings, "count: 3\n") == [
        "error: f:1:8: `count` cannot be `3`: must be even [CZ037]",
        "hint: `count`: how many",
    ]


# -- going on past what is wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("default", "labels", "said"),
    [
        ("other", ("医疗", '""'), "f:6:3: a key of `rules` cannot be ``: it needs a name"),
        ("other", ("a", '" "'), "f:6:3: a key of `rules` cannot be ``: it needs a name"),
        ('" "', ("a", "b"), "f:2:10: `default` cannot be ``"),
        ("other", ("Tea", "tea"), "f:3:1: `rules`: `Tea` and `tea` differ only in how they are written"),
        ("other", ("ｔea", "tea"), "f:3:1: `rules`: `ｔea` and `tea` differ only in how they are written"),
        ("other", ("閒聊", "闲聊"), "f:3:1: `rules`: `閒聊` and `闲聊` differ only in how they are written"),
        (
            "TEA",
            ("a", "tea"),
            "f:2:10: `default` cannot be `TEA`: `tea` and `TEA` differ only in how they are written",
        ),
    ],
    ids=["empty", "blank", "blank default", "alike", "alike in width", "alike in form", "like the default"],
)
def test_labels_can_be_told_apart(default: str, labels: tuple[str, str], said: str) -> None:
    rules = "".join(f"  {label}:\n    keywords: x\n" for label in labels)
    lines = told(IntentSettings, f"type: intent\ndefault: {default}\nrules:\n{rules}")
    assert [line.partition(" [CZ")[0] for line in lines if "error" in line] == [f"error: {said}"]


def test_a_mistyped_key_is_read_as_the_one_that_was_meant() -> None:
    validated = read(PersonalitySpec, HEAD + "promt: 你好\nmodel:\n  temprature: 0.5\n")
    assert not validated.sound
    assert validated.left_out == frozenset()
    assert validated.value == PersonalitySpec(
        id="mia", name="米娅", prompt="你好", model=ModelSettings(temperature=0.5)
    )


def test_a_wrong_value_is_left_out() -> None:
    validated = read(
        PersonalitySpec, HEAD + "timeout: 5\nmodel:\n  top_p: 3\n  seed: 1\ntools:\n  - a\n  -\n"
    )
    assert validated.left_out == {("timeout",), ("model", "top_p"), ("tools",)}
    assert validated.value == PersonalitySpec(id="mia", name="米娅", model=ModelSettings(seed=1))


def test_a_missing_text_does_not_keep_the_rest_from_being_read() -> None:
    value = read(PersonalitySpec, "id: 小研\nprompt: 你好\n").value
    assert isinstance(value, PersonalitySpec)
    assert value.prompt == "你好"


def test_where_nothing_can_stand_in_there_is_no_value() -> None:
    assert read(FetchContextSettings, "type: fetch_context\nsource: nowhere\n").value is None


_MODELS = {"personality": PersonalitySpec, "pipeline": PipelineSpec} | {
    name: info.settings for name, info in stage_types().items()
}
_FIELDS = {field.alias or name for model in _MODELS.values() for name, field in model.model_fields.items()}
_keys = st.sampled_from([*sorted(_FIELDS), "promt", "nmae", "(name)", "(mapping)", "中", "", "from_"])
_values = st.recursive(
    st.sampled_from(["", "x", "0", "-1", "0.5", "5s", "yes", "null", "llm", "memory", "中", "a/b", "1e999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=8,
)


class Anywhere:
    def key(self, *path: str | int) -> Place:
        return Place("f", 1, 1)

    value = key


@settings(max_examples=200)
@given(kind=st.sampled_from(sorted(_MODELS)), data=st.dictionaries(_keys, _values, max_size=6))
@example(kind="personality", data={"id": "a", "name": "b", "pipeline": {"(mapping)": "x"}})
@example(kind="personality", data={"(name)": "x"})
def test_whatever_is_written_is_answered(kind: str, data: dict[str, Any]) -> None:
    before = deepcopy(data)
    validated = validate(_MODELS[kind], data, Anywhere(), "a thing")
    assert data == before
    assert validated.sound == (not validated.diagnostics)
    assert validated.value is not None or validated.diagnostics
    for diagnostic in validated.diagnostics:
        assert diagnostic.message
        assert "\n" not in diagnostic.message
