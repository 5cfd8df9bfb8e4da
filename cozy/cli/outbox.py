"""`cozy outbox`: jobs that turns have left."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from cozy.cli.opened import with_accounts
from cozy.cli.user import json_option

if TYPE_CHECKING:
    from cozy.cli.opened import Accounts
    from cozy.ports.outbox import JobState, OutboxAdmin, StoredJob

STATES = ("queued", "leased", "dead", "done")
SHORTEST = 4
"""Characters of an id that may stand for it."""
TOLD = ("request_id", "turn_id", "session_id", "personality_id", "model")
"""What a payload holds that is no word of a user."""


@click.group()
def outbox() -> None:
    """List, show, retry and drop jobs that turns have left.

    A job is named by its id or the beginning of it. A running server follows within two seconds.
    """


@outbox.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only those that wait (`queued`), are being done (`leased`), were given up (`dead`), or are done. "
    "May be repeated; default: all that are not done.",
)
@click.option("--target", metavar="NAME", help="Only these: `memory/embedded`, or `memory` for every engine.")
@click.option("--user", metavar="NAME", help="Only those of this user.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many at most."
)
@json_option
def list_(states: Sequence[str], target: str | None, user: str | None, limit: int, as_json: bool) -> None:
    """List jobs, the oldest first."""
    from cozy.cli.tables import columns

    chosen = cast("Collection[JobState]", states or ("queued", "leased", "dead"))

    async def work(accounts: Accounts) -> Sequence[StoredJob]:
        owner = (await accounts.identity.find_user(user)).id if user else None
        return await accounts.outbox.jobs(states=chosen, target=target, user_id=owner, limit=limit + 1)

    found = with_accounts(work)
    shown = found[:limit]
    if as_json:
        values = [_values(job) for job in shown]
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
    elif shown:
        rows = [("job", "state", "target", "user", "age", "attempts", "due", "last error")]
        rows += [
            (
                f"{job.id}"[:8],
                job.state if job.kind == "write" else f"{job.state}, erases",
                job.target,
                job.username,
                _age(job),
                f"{job.attempts}",
                f"{job.due_at.astimezone():%Y-%m-%d %H:%M:%S}" if job.state == "queued" else "-",
                (job.last_error or "-")[:100],
            )
            for job in shown
        ]
        click.echo(columns(rows))
    else:
        click.echo("no such jobs", err=True)
    if len(found) > limit:
        click.echo(f"there are more than {limit}; say --limit", err=True)


@outbox.command()
@click.argument("id_", metavar="ID")
@click.option("--content", is_flag=True, help="With the words of the user that it holds.")
@json_option
def show(id_: str, content: bool, as_json: bool) -> None:
    """Show all of a job but what its user said."""
    from cozy.cli.tables import columns

    async def work(accounts: Accounts) -> StoredJob:
        return await _meant(accounts.outbox, id_)

    job = with_accounts(work)
    values = {**_values(job), "payload": dict(job.payload) if content else _wordless(job.payload)}
    if as_json:
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    payload = values.pop("payload")
    flat = {**values, **{f"payload.{name}": value for name, value in payload.items()}}
    click.echo(columns([(name, _shown(value)) for name, value in flat.items()]))


@outbox.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--dead", is_flag=True, help="All that were given up.")
def retry(ids: Sequence[str], dead: bool) -> None:
    """Have jobs done now, as if they were new: those that were given up, or that wait for another try."""
    if bool(ids) == dead:
        raise click.UsageError("name jobs, or say --dead for all that were given up")

    async def work(accounts: Accounts) -> int:
        jobs = [await _meant(accounts.outbox, one) for one in dict.fromkeys(ids)]
        _must_wait(jobs)
        count = await accounts.outbox.again(None if dead else [job.id for job in jobs])
        if count:
            which = [str(job.id) for job in jobs] or "dead"
            await accounts.note("outbox.retried", count=f"{count}", jobs=which)
        return count

    click.echo(f"to be done now: {with_accounts(work)}", err=True)


@outbox.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(ids: Sequence[str], yes: bool) -> None:
    """Delete jobs that wait or were given up: what they hold is never learned."""

    async def find(accounts: Accounts) -> list[StoredJob]:
        jobs = [await _meant(accounts.outbox, one) for one in dict.fromkeys(ids)]
        _must_wait(jobs)
        _must_not_erase(jobs)
        return jobs

    jobs = with_accounts(find)
    if not yes:
        from cozy.interfaces.repl.safe import safe

        named = ", ".join(f"{job.target} of `{job.username}`" for job in jobs)
        click.confirm(safe(f"drop {len(jobs)} ({named})?"), abort=True, err=True)

    async def work(accounts: Accounts) -> int:
        count = await accounts.outbox.drop([job.id for job in jobs])
        if count:
            facts = [f"{job.id} {job.target} {job.user_id}" for job in jobs]
            await accounts.note("outbox.dropped", count=f"{count}", jobs=facts)
        return count

    click.echo(f"dropped: {with_accounts(work)}", err=True)


async def _meant(outbox: OutboxAdmin, given: str) -> StoredJob:
    """Raises NotFound, and Conflict where several may be meant."""
    from cozy.errors import Conflict, NotFound

    text = given.strip().removesuffix("…")
    digits = text.replace("-", "")
    if not re.fullmatch(r"[0-9a-fA-F]{1,32}", digits):
        raise NotFound("job", given[:36])
    if len(digits) < SHORTEST:
        hint = f"`cozy outbox list` shows 8 characters of it, {SHORTEST} are the fewest"
        raise Conflict(f"`{text}` is too little of an id", hint=hint)
    found = await outbox.find(digits)
    if not found:
        raise NotFound("job", given[:36])
    if len(found) > 1:
        ids = ", ".join(f"`{job.id}`" for job in found)
        raise Conflict(f"several jobs begin with `{text}`", hint=f"name one by more of its id: {ids}")
    return found[0]


def _must_wait(jobs: Sequence[StoredJob]) -> None:
    """Raises Conflict for one that is being done, or is done."""
    from cozy.errors import Conflict

    for job in jobs:
        if job.state == "leased":
            raise Conflict(f"job `{job.id}` is being done", hint="wait until it has ended")
        if job.state == "done":
            raise Conflict(f"job `{job.id}` is done")


def _must_not_erase(jobs: Sequence[StoredJob]) -> None:
    """Raises Conflict."""
    from cozy.errors import Conflict

    for job in jobs:
        if job.kind == "erase":
            raise Conflict(
                f"job `{job.id}` erases what `{job.username}` said from {job.target}: it is never dropped",
                hint="`cozy outbox retry` has it tried at once",
            )


def _values(job: StoredJob) -> dict[str, Any]:
    from cozy.interfaces.plain_values import plain

    values = plain(job)
    del values["payload"]
    return values


def _wordless(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with the size of what somebody may have said in place of it."""
    return {
        name: value if name in TOLD or value is None else f"… ({len(str(value))} characters)"
        for name, value in payload.items()
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _age(job: StoredJob) -> str:
    from cozy.storage.schema import utc_now

    seconds = max(0, int((utc_now() - job.created_at).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
