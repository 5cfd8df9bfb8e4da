"""`cozy knowledge`: the documents that personalities answer from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cozy.cli.opened import EngineOf, engine_option, user_option, username, with_storage

if TYPE_CHECKING:
    from cozy.app import Stored
    from cozy.cli.documents import Found
    from cozy.errors import CozyError
    from cozy.ports.knowledge import Document, Passage

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def knowledge() -> None:
    """Add, list, search and remove documents."""


@knowledge.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--dataset", required=True, metavar="NAME", help="Which dataset; made when it is not there.")
@engine_option("knowledge")
def add(paths: tuple[Path, ...], dataset: str, engine: EngineOf | None) -> None:
    """Take documents in: Markdown and text files, UTF-8; folders are walked.

    A document of the same name in the same dataset is replaced. A file that cannot be read is reported, the
    others go on; the exit code is then 1.
    """
    from cozy.cli.documents import found_in
    from cozy.errors import CozyError

    files = list(found_in(paths))
    if not files:
        raise CozyError("no .md, .markdown or .txt file there")

    async def work(stored: Stored) -> int:
        failed = 0
        for file, text in _texts(files):
            try:
                if isinstance(text, CozyError):
                    raise text
                document = await stored.knowledge.add(dataset=dataset, name=file.name, text=text)
            except CozyError as error:
                failed += 1
                click.echo(f"error: {file.path}: {error}", err=True)
            else:
                noun = "passage" if document.passages == 1 else "passages"
                click.echo(f"{document.name}: {document.passages} {noun}")
        return failed

    failed = with_storage(work, engine)
    click.echo(f"{len(files) - failed} of {len(files)} files are in `{dataset}` now", err=True)
    if failed:
        sys.exit(1)


def _texts(files: Sequence[Found]) -> Iterator[tuple[Found, str | CozyError]]:
    """Each file with its text, or with what is wrong with it."""
    from cozy.cli.documents import read_text
    from cozy.errors import CozyError

    names: dict[str, Path] = {}
    for file in files:
        other = names.setdefault(file.name, file.path)
        try:
            if other != file.path:
                raise CozyError(f"{other} would be called `{file.name}` too", hint="add them one by one")
            yield file, read_text(file.path)
        except CozyError as error:
            yield file, error


@knowledge.command("list")
@click.option("--dataset", metavar="NAME", help="Only this one.")
@json_option
@engine_option("knowledge")
def list_(dataset: str | None, as_json: bool, engine: EngineOf | None) -> None:
    """List the documents, by dataset."""
    from cozy.cli.tables import columns
    from cozy.interfaces.plain_values import plain

    async def work(stored: Stored) -> Sequence[Document]:
        return await stored.knowledge.documents(dataset)

    found = with_storage(work, engine)
    if as_json:
        click.echo(json.dumps(plain(found), ensure_ascii=False, indent=2))
    elif found:
        rows = [("dataset", "document", "passages", "characters", "added")]
        rows += [
            (
                d.dataset,
                d.name,
                str(d.passages),
                str(d.characters),
                f"{d.added_at.astimezone():%Y-%m-%d %H:%M}",
            )
            for d in found
        ]
        click.echo(columns(rows))
    else:
        click.echo("no documents; add some with `cozy knowledge add PATH --dataset NAME`", err=True)


@knowledge.command()
@click.argument("query")
@click.option(
    "--dataset", "datasets", multiple=True, metavar="NAME", help="Only in this one; may be repeated."
)
@click.option("--top", default=5, show_default=True, type=click.IntRange(1, 100), help="How many passages.")
@json_option
@user_option
@engine_option("knowledge")
def search(
    query: str, datasets: tuple[str, ...], top: int, as_json: bool, user: str | None, engine: EngineOf | None
) -> None:
    """Show the passages that fit QUERY best, as a personality would be given them."""
    from cozy.interfaces.plain_values import plain
    from cozy.interfaces.repl.safe import safe

    async def work(stored: Stored) -> Sequence[Passage]:
        user_id = await stored.store.user(username(user))
        return await stored.knowledge.search(query, user_id=user_id, datasets=datasets, top_k=top)

    found = with_storage(work, engine)
    if as_json:
        click.echo(json.dumps(plain(found), ensure_ascii=False, indent=2))
        return
    for passage in found:
        click.echo(f"{passage.score:.2f}  {safe(passage.source)}  ({safe(passage.dataset)})")
        click.echo("\n".join(f"      {line}" for line in safe(passage.text).splitlines()) + "\n")
    if not found:
        click.echo("nothing found", err=True)


@knowledge.command()
@click.argument("documents", nargs=-1)
@click.option("--dataset", required=True, metavar="NAME", help="From which dataset.")
@click.option("--all", "everything", is_flag=True, help="The whole dataset.")
@engine_option("knowledge")
def remove(documents: tuple[str, ...], dataset: str, everything: bool, engine: EngineOf | None) -> None:
    """Take DOCUMENTS out, by the names that `list` shows, or with --all the whole dataset."""
    from cozy.errors import NotFound

    if bool(documents) == everything:
        raise click.UsageError("name the documents, or say --all")

    async def work(stored: Stored) -> int:
        if everything:
            return await stored.knowledge.remove(dataset=dataset)
        known = {d.name for d in await stored.knowledge.documents(dataset)}
        for name in documents:
            if name not in known:
                raise NotFound("document", name, known=known)
        return sum([await stored.knowledge.remove(dataset=dataset, name=name) for name in documents])

    gone = with_storage(work, engine)
    if not gone:
        raise NotFound("dataset", dataset)
    click.echo(f"removed: {gone}", err=True)
