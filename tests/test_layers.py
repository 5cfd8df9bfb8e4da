"""Imports point down, libraries keep to their rooms: read from the source, held to the map."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cozy

PACKAGE = Path(cozy.__file__).parent

VOCABULARY = {"cells", "errors", "turn", "events", "usage", "audio", "settings", "traditional", "writing"}
MAY_IMPORT = {
    "interfaces": {"interfaces", "engine", "ports"},
    "engine": {"engine", "dsl", "stages", "ports"},
    "dsl": {"dsl", "stages"},
    "stages": {"stages", "ports"},
    "adapters": {"adapters", "storage", "ports"},
    "ports": {"ports"},
    "storage": {"storage", "ports"},
}
"""Layer → the layers it may import; the vocabulary is open to all, and bound to nothing but itself and ports.
`app.py`, `configuration/`, `service.py`, `startup.py`, `cli/` and `testing/` put things together and may
import anything."""

ROOMS = {
    "strictyaml": {"dsl/parse.py", "dsl/syntax.py"},
    "jinja2": {"stages/templates.py", "stages/template_tree.py"},
    "regex": {"stages/intent_rules.py"},
    "hypercorn": {"cli/serve.py", "cli/connections.py"},
    "starlette": {"interfaces"},
    "rich": {"interfaces", "cli"},
    "prompt_toolkit": {"interfaces", "cli"},
    "openai": {"adapters"},
    "httpx2": {"adapters"},
    "aiohttp": {"adapters"},
    "redis": {"adapters", "storage"},
    "sqlalchemy": {"adapters", "storage"},
    "alembic": {"storage"},
    "tiktoken": {"adapters"},
    "click": {"cli"},
    "jwt": {"adapters"},
    "argon2": {"adapters"},
    "pyotp": {"adapters"},
}
"""Library → where it may be imported: a layer, or one file."""


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if "shipped" not in p.parts]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    inside = path.relative_to(PACKAGE)
    layer = inside.parts[0] if len(inside.parts) > 1 else inside.stem
    wrong: list[str] = []
    for line, module in imports(path):
        if module.startswith("cozy."):
            target = layer_of(module)
            allowed = MAY_IMPORT.get(layer)
            if allowed is None:
                continue
            if target not in allowed | VOCABULARY:
                wrong.append(f"{inside}:{line} imports {module}: `{layer}` may not import `{target}`")
        room = ROOMS.get(module.split(".")[0])
        if room is not None and layer not in room and inside.as_posix() not in room:
            wrong.append(f"{inside}:{line} imports {module}: it belongs in {sorted(room)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(VOCABULARY - {"audio"}))
def test_the_vocabulary_is_bound_to_nothing_above_it(name: str) -> None:
    files = sorted((PACKAGE / name).rglob("*.py")) or [PACKAGE / f"{name}.py"]
    targets = {layer_of(m) for file in files for _, m in imports(file) if m.startswith("cozy.")}
    assert targets <= VOCABULARY


def test_nobody_imports_adapters_but_those_who_put_things_together() -> None:
    outside = [p for p in modules() if p.relative_to(PACKAGE).parts[0] not in ("adapters", "cli", "testing")]
    who = [
        p.relative_to(PACKAGE).as_posix()
        for p in outside
        if any(layer_of(m) == "adapters" for _, m in imports(p) if m.startswith("cozy."))
    ]
    assert who == ["app.py", "service.py", "startup.py"]
