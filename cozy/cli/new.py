"""`cozy new`: a personality to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

ENGLISH = """\
# What `cozy chat {id}` and requests name it by, and what people call it.
id: {id}
name: {name}
description: Answers questions, briefly and kindly
language: en
welcome: Hello, I am {{{{ personality.name }}}}. What can I do for you?

# model:                # nothing said: the installation's default, see cozy.toml
#   name: openai/gpt-4.1-mini
#   temperature: 0.7
#   fallbacks:          # tried in turn while no word has been spoken
#     - ollama/qwen3

tools:                  # what it may call; `cozy check` lists the known ones when a name is wrong
  - calculator
  - current_time

# Who it is. This comes first in every request and stays the same from turn to turn, so that
# providers can keep it: what changes (memory, knowledge, the time) belongs in `context`.
prompt: |
  You are {{{{ personality.name }}}}, a helpful companion.
  Answer in the language of the user, in a few sentences, and say so when you do not know.

# What this turn brings, placed beside the user's message. Without it a good default is used.
# context: |
#   {{% if summary %}}Earlier: {{{{ summary }}}}
#   {{% endif %}}{{% if profile %}}About the user: {{{{ profile }}}}
#   {{% endif %}}{{% for item in memory %}}- {{{{ item.text }}}}
#   {{% endfor %}}{{% for passage in knowledge %}}- {{{{ passage.text }}}} ({{{{ passage.source }}}})
#   {{% endfor %}}

pipeline: standard      # draw it with `cozy graph {id}`; `attentive` asks no engine for small talk

# engines:              # who brings it; nothing said: as cozy.toml says under [context]
#   memory: embedded    # Cozy's own database, or a name from [engines]

# stages:               # only what differs from the pipeline
#   knowledge:
#     datasets:         # fill one with `cozy knowledge add docs/ --dataset handbook`
#       - handbook
#     top_k: 8
#   memory: off         # a stage it can do without
"""

CHINESE = """\
# `cozy chat {id}` 和请求用 id 称呼它，人们用 name。
id: {id}
name: {name}
description: 简短、友好地回答问题
language: zh-CN
welcome: 你好，我是{{{{ personality.name }}}}，有什么可以帮你？

# model:                # 不写就用 cozy.toml 里的默认模型
#   name: openai/gpt-4.1-mini
#   temperature: 0.7
#   fallbacks:          # 还没说出一个字时，依次尝试
#     - ollama/qwen3

tools:                  # 它可以调用的工具；名字写错时 `cozy check` 会列出已知的工具
  - calculator
  - current_time

# 它是谁。这一段排在每次请求的最前面，而且每轮都不变，模型服务商因此可以缓存它；
# 会变的内容（记忆、知识、时间）写在 `context` 里。
prompt: |
  你是{{{{ personality.name }}}}，一个乐于助人的伙伴。
  用用户的语言回答，几句话就好；不知道的事就说不知道。

# 这一轮带来的内容，放在用户的消息旁边。不写就用内置的默认模板。
# context: |
#   {{% if summary %}}之前谈到：{{{{ summary }}}}
#   {{% endif %}}{{% if profile %}}关于这位用户：{{{{ profile }}}}
#   {{% endif %}}{{% for item in memory %}}- {{{{ item.text }}}}
#   {{% endfor %}}{{% for passage in knowledge %}}- {{{{ passage.text }}}}（{{{{ passage.source }}}}）
#   {{% endfor %}}

pipeline: standard      # 用 `cozy graph {id}` 画出来看看；`attentive` 遇到寒暄不去查任何引擎

# engines:              # 由谁提供；不写就按 cozy.toml 的 [context]
#   memory: embedded    # Cozy 自己的数据库，或 [engines] 里的名字

# stages:               # 只写和流水线不同的地方
#   knowledge:
#     datasets:         # 用 `cozy knowledge add docs/ --dataset handbook` 添加资料
#       - handbook
#     top_k: 8
#   memory: off         # 不需要的步骤可以去掉
"""

SCHEMA = "personality.schema.json"


@click.command()
@click.argument("name")
@click.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    help="Of the comments and the prompt; default: the locale's.",
)
def new(name: str, language: str | None) -> None:
    """Write a commented personality to start from.

    NAME is its id: lower-case letters, digits and underscores, a letter first.
    """
    from cozy.configuration import load_settings
    from cozy.errors import CozyError
    from cozy.settings import shipped

    _check_id(name)
    settings = load_settings()
    folder = settings.paths.personalities[0]
    file = folder / f"{name}.yaml"
    text = written(name, language or _locale_language())
    schema = settings.root / "schemas" / SCHEMA
    if schema.is_file():
        beside = Path(os.path.relpath(schema, folder)).as_posix()
        text = f"# yaml-language-server: $schema={beside}\n{text}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8", newline="\n") as out:
            out.write(text)
    except FileExistsError:
        raise CozyError(f"{_shown(file)} is there already", hint="choose another name") from None
    except OSError as error:
        raise CozyError(f"{_shown(file)} cannot be written: {error.strerror}") from None
    click.echo(_shown(file))
    if (shipped("personalities") / file.name).is_file():
        click.echo(f"note: it takes the place of the `{name}` that comes with Cozy", err=True)
    click.echo(f"talk to it: cozy chat {name}", err=True)


def written(id_: str, language: str) -> str:
    """The text of a new personality's file; `language` is `en` or `zh`."""
    if language == "zh":
        return CHINESE.format(id=id_, name=id_)
    return ENGLISH.format(id=id_, name=id_.replace("_", " ").strip().capitalize())


def _check_id(name: str) -> None:
    from cozy.dsl.spec import ID_PATTERN

    if re.fullmatch(ID_PATTERN, name) and len(name) <= 64:
        return
    near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:64]
    hint = f"; did you mean `{near}`?" if re.fullmatch(ID_PATTERN, near) else ""
    raise click.UsageError(
        f"`{name}` is no id: lower-case letters, digits and underscores, a letter first, 64 at most{hint}"
    )


def _locale_language() -> str:
    names = (os.environ.get(key) for key in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if (next(filter(None, names), "")).lower().startswith("zh") else "en"


def _shown(file: Path) -> str:
    """As short as it can be told from here."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
