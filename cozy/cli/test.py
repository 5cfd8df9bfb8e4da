"""`cozy test`: pipeline fixtures, and what has changed since their snapshots."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cozy.testing import FOLDER

if TYPE_CHECKING:
    from cozy.dsl.project import Project


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--update", is_flag=True, help="Write the snapshots; read what has changed before you keep it.")
def test(paths: tuple[Path, ...], update: bool) -> None:
    """Run pipeline fixtures and show what changed.

    PATHS are fixtures, or folders of them; without any, `tests/pipelines` of the project. Nothing outside is
    asked: models answer from the fixture, and storage is a database of its own. Exits with 1 where a fixture
    fails.
    """
    import anyio

    from cozy.app import cache_folder
    from cozy.configuration import load_settings
    from cozy.dsl.project import Sources, read_project
    from cozy.testing.report import fixtures_in

    settings = load_settings()
    folder = settings.root / FOLDER
    fixtures = fixtures_in(paths or ([folder] if folder.is_dir() else []))
    if not fixtures:
        where = "in " + ", ".join(map(str, paths)) if paths else f"in `{FOLDER}`"
        raise click.ClickException(f"there are no fixtures {where}")
    sources = Sources(settings.paths.personalities, settings.paths.pipelines)
    project = read_project(sources, cache=cache_folder())
    sys.exit(anyio.run(_run, fixtures, project, update))


async def _run(fixtures: Sequence[Path], project: Project, update: bool) -> int:
    """Run them, tell of each that did not pass, and give the exit code."""
    from cozy.testing.report import check_fixture
    from cozy.testing.runner import migrated_file

    _only_bugs_to_the_log()
    count: Counter[str] = Counter()
    async with migrated_file() as empty:
        for path in fixtures:
            result = await check_fixture(path, project, empty, update=update)
            count[result.status] += 1
            if result.status == "failed":
                click.echo(f"{result.text()}\n")
            elif result.status == "written":
                click.echo(f"written: {result.name}", err=True)
    told = ", ".join(
        f"{count[status]} {status}" for status in ("passed", "written", "failed") if count[status]
    )
    click.echo(f"{len(fixtures)} {'fixture' if len(fixtures) == 1 else 'fixtures'}: {told}", err=True)
    return 1 if count["failed"] else 0


def _only_bugs_to_the_log() -> None:
    """Degraded stages and failed turns are what fixtures are about; only what nobody foresaw is told."""
    from cozy.adapters.scripted import ScriptError

    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    handler.addFilter(
        lambda record: bool(record.exc_info) and not isinstance(record.exc_info[1], ScriptError)
    )
    logging.getLogger("cozy").addHandler(handler)
