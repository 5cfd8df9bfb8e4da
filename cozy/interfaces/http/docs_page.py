"""`/docs`: the OpenAPI document as a page. Nothing of it comes from another host, and it runs no script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #0a7; }
body { font: 15px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", sans-serif; margin: 0 auto; padding: 2rem;
  max-width: 60rem; }
h1 { margin: 0 } h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } code, pre { font: 13px/1.5 ui-monospace, monospace }
pre { background: var(--soft); border-radius: 6px; overflow-x: auto; padding: .6rem }
table { border-collapse: collapse; width: 100% }
td, th { border-top: 1px solid var(--line); padding: .2rem .5rem; text-align: left; vertical-align: top }
.method { color: var(--accent); display: inline-block; font-weight: 700; width: 4.5rem }
.who { color: var(--accent); font-size: 12px; margin-left: .5rem }
"""


def page(document: Mapping[str, Any]) -> str:
    """The document as HTML."""
    operations: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operations[operation["tags"][0]].append(_operation(method, path, operation))
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])} {escape(info['version'])}</title><style>{STYLE}</style>",
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])} ",
        f'Version {escape(info["version"])}. <a href="openapi.json">openapi.json</a></p>',
    ]
    for tag, written in operations.items():
        parts += [f"<h2>{escape(tag)}</h2>", *written]
    parts.append("<h2>Schemas</h2>")
    parts += [
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_schema(schema)}'
        "</details>"
        for name, schema in document["components"]["schemas"].items()
    ]
    return "".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    who = '<span class="who">bearer</span>' if "security" in operation else ""
    parts = [
        f'<details><summary><span class="method">{escape(method.upper())}</span><code>{escape(path)}</code> ',
        f"{escape(operation['summary'])}{who}</summary>",
    ]
    if "description" in operation:
        parts.append(f"<p>{escape(operation['description'])}</p>")
    if operation["parameters"]:
        rows = [
            f"<tr><td><code>{escape(p['name'])}</code><td>{p['in']}<td>{_type(p['schema'])}"
            for p in operation["parameters"]
        ]
        parts.append(f"<table><tr><th>parameter<th>in<th>type{''.join(rows)}</table>")
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(f"<p>Body: {_type(schema)}</p>")
    rows = [
        f"<tr><td>{status}<td>{escape(told['description'])}<td>{_content(told)}"
        for status, told in operation["responses"].items()
    ]
    parts.append(f"<table><tr><th>status<th><th>answer{''.join(rows)}</table></details>")
    return "".join(parts)


def _content(told: Mapping[str, Any]) -> str:
    return ", ".join(
        _type(content["schema"]) if "schema" in content else escape(kind)
        for kind, content in told.get("content", {}).items()
    )


def _schema(schema: Mapping[str, Any]) -> str:
    if "properties" not in schema:
        return f"<pre>{escape(json.dumps(schema, indent=1, ensure_ascii=False))}</pre>"
    required = schema.get("required", ())
    rows = [
        f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}"
        f"<td>{_type(field)}<td>{escape(field.get('description', ''))}"
        for name, field in schema["properties"].items()
    ]
    told = f"<p>{escape(schema['description'])}</p>" if "description" in schema else ""
    return f"{told}<table><tr><th>field<th>type<th>{''.join(rows)}</table>"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a word or a few."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}"><code>{name}</code></a>'
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(_type(part) for part in schema[union])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("type", "anything")))
