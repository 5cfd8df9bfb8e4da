"""JSON Schemas of the two kinds of file, for editors, made from the models that read them.

An editor reads YAML with its implied types: what is a text to Cozy may be a number, a boolean or null to it,
so the schemas take those too. They are draft 07, which every YAML language server knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel

from cozy.dsl.spec import PersonalitySpec, PipelineSpec
from cozy.stages.registry import StageInfo, stage_types

Schema = dict[str, Any]

_NUMERIC = {"integer": r"^\s*[-+]?[0-9]+\s*$", "number": r"^\s*[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?\s*$"}
_YES_OR_NO = r"^([tT]rue|[fF]alse|[yY]es|[nN]o|[oO]n|[oO]ff)$"


def schemas() -> Mapping[str, str]:
    """The schemas as JSON text, by file name."""
    return {
        "personality.schema.json": _text(_file(PersonalitySpec, "A personality of Cozy", "change")),
        "pipeline.schema.json": _text(_file(PipelineSpec, "A pipeline of Cozy", "stage")),
    }


def _text(schema: Schema) -> str:
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _file(model: type[BaseModel], title: str, entry: str) -> Schema:
    """The schema of a kind of file whose `stages` hold what the definition `entry` says."""
    definitions: dict[str, Schema] = {}
    whole = _model(model, definitions)
    types = stage_types()
    for info in types.values():
        definitions[info.name] = _stage(info, definitions)
    definitions["stage"] = _any_stage(types)
    if entry == "change":
        definitions["settings"] = _any_settings([definitions[name] for name in types])
        definitions["change"] = _change()
        _put_stages(definitions["PipelineSpec"], "stage")
    _put_stages(whole, entry)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        **whole,
        "definitions": dict(sorted(definitions.items())),
    }


def _model(model: type[BaseModel], definitions: dict[str, Schema]) -> Schema:
    """A model's schema; the models within it go to `definitions`."""
    schema = model.model_json_schema(by_alias=True, ref_template="#/definitions/{model}")
    for name, inner in cast("dict[str, Schema]", schema.pop("$defs", {})).items():
        definitions[name] = _as_edited(inner)
    return _as_edited(schema)


def _stage(info: StageInfo, definitions: dict[str, Schema]) -> Schema:
    schema = _model(info.settings, definitions)
    schema["description"] = _one_line(info.description)
    schema["properties"]["type"] = {"const": info.name, "description": _one_line(info.description)}
    return schema


def _any_stage(types: Mapping[str, StageInfo]) -> Schema:
    known = "; ".join(
        f"`{info.name}`: {_one_line(info.description).removesuffix('.')}" for info in types.values()
    )
    return {
        "type": "object",
        "description": "A stage of the pipeline.",
        "required": ["type"],
        "properties": {"type": {"enum": list(types), "description": f"Which stage type it is. {known}."}},
        "allOf": [
            {
                "if": {"type": "object", "required": ["type"], "properties": {"type": {"const": name}}},
                "then": {"$ref": f"#/definitions/{name}"},
            }
            for name in types
        ],
    }


def _any_settings(stages: list[Schema]) -> Schema:
    """Settings of a stage whose type stands in another file: each as any stage type has it."""
    found: dict[str, list[Schema]] = {}
    for stage in stages:
        for name, schema in stage["properties"].items():
            if name != "type" and schema not in found.setdefault(name, []):
                found[name].append(schema)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: all_[0] if len(all_) == 1 else {"anyOf": all_} for name, all_ in found.items()},
    }


def _change() -> Schema:
    return {
        "description": "Settings of one of the pipeline's stages, a stage of its own, or `off`.",
        "if": {"type": "object", "required": ["type"]},
        "then": {"$ref": "#/definitions/stage"},
        # `off` is false to an editor that reads YAML 1.1
        "else": {"anyOf": [{"$ref": "#/definitions/settings"}, {"enum": ["off", False, None]}]},
    }


def _put_stages(schema: Schema, entry: str) -> None:
    schema["properties"]["stages"] |= {
        "propertyNames": {"pattern": r"^[^\W\d]\w*$"},
        "additionalProperties": {"$ref": f"#/definitions/{entry}"},
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


# -- what an editor makes of YAML ----------------------------------------------------------------------


def _as_edited(schema: Schema) -> Schema:
    """The schema, for values as an editor reads them."""
    schema = dict(schema)
    schema.pop("title", None)
    if schema.get("default") in (None, "", []) or isinstance(schema["default"], dict):
        schema.pop("default", None)  # it says nothing, or what its parts say of themselves
    if "description" in schema:
        schema["description"] = _one_line(schema["description"])
    if "properties" in schema:
        schema["properties"] = {name: _property(value) for name, value in schema["properties"].items()}
    if "anyOf" in schema:
        return _either(schema)
    return _typed(schema)


def _property(schema: Schema) -> Schema:
    edited = _as_edited(schema)
    if "$ref" not in edited:
        return edited
    # a mapping may be left empty; and in draft 07 whatever stands beside a `$ref` counts for nothing
    return {"anyOf": [{"$ref": edited.pop("$ref")}, {"type": "null"}], **edited}


def _either(schema: Schema) -> Schema:
    branches: list[Schema] = schema.pop("anyOf")
    real = [_as_edited(branch) for branch in branches if branch != {"type": "null"}]
    is_optional = len(real) < len(branches)
    if len(real) == 1 and "$ref" not in real[0]:
        merged = {**real[0], **schema}
        if is_optional:
            if "enum" in merged:
                merged["enum"] = [*merged["enum"], None]
            merged["type"] = _types(merged, "null")
        return merged
    return {"anyOf": [*real, {"type": "null"}] if is_optional else real, **schema}


def _types(schema: Schema, *more: str) -> list[str]:
    known = schema["type"]
    return list(dict.fromkeys([*([known] if isinstance(known, str) else known), *more]))


def _typed(schema: Schema) -> Schema:
    match schema.get("type"):
        case "integer" | "number" as kind:
            return {**schema, "type": [kind, "string"], "pattern": _NUMERIC[kind]}
        case "boolean":
            return {**schema, "type": ["boolean", "string"], "pattern": _YES_OR_NO}
        case "string" if "enum" in schema or "pattern" in schema:
            return schema
        case "string" if schema.get("minLength"):
            return {**schema, "type": ["string", "number", "boolean"]}
        case "string":
            return {**schema, "type": ["string", "number", "boolean", "null"]}
        case "array":
            schema["items"] = item = _as_edited(schema["items"])
            item["type"] = [kind for kind in _types(item) if kind != "null"]
            if "enum" not in item:
                return {**schema, "type": ["array", "null"]}
            # one of them may stand without its dash
            rest = {key: schema.pop(key) for key in ("description", "default") if key in schema}
            return {"anyOf": [schema, item, {"type": "null"}], **rest}
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            schema["additionalProperties"] = _as_edited(schema["additionalProperties"])
            return {**schema, "type": ["object", "null"]}
        case "object" if "properties" not in schema:
            return {**schema, "type": ["object", "null"]}
        case _:
            return schema
