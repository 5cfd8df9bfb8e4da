"""`cozy key`: what programs come in with."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import click

from cozy.cli.opened import with_accounts
from cozy.cli.user import everybody, json_option

if TYPE_CHECKING:
    from cozy.cli.opened import Accounts
    from cozy.ports.identity import ApiKey, IdentityAdmin, Scope, User

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST = timedelta(days=36_500)


@click.group()
def key() -> None:
    """Make, list and revoke API keys, and change what tokens are signed with."""


def _span(_context: click.Context, _parameter: click.Parameter, value: str | None) -> timedelta | None:
    """`90d`: a number of minutes (m), hours (h), days (d) or weeks (w)."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,8})([mhdw])", value)
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < span <= LONGEST:
        raise click.BadParameter(f"`{value}` is no time from now; write `90d`, `12h` or `4w`")
    return span


@key.command()
@click.argument("user", metavar="USER")
@click.option("--name", default="command line", show_default=True, help="What it is for, to tell it by.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["chat", "account", "admin"]),
    help="What it may be used for: `chat` for completions, models, personalities, audio and tools; `account` "
    "for what its user has stored, sessions and memories included; `admin` for an admin's routes. May be "
    "repeated; default: chat and account.",
)
@click.option("--expires", callback=_span, metavar="SPAN", help="When it ends by itself: `90d`, `12h`.")
def create(user: str, name: str, scopes: Sequence[str], expires: timedelta | None) -> None:
    """Make a key for the user USER, and print it. It cannot be shown again."""
    wanted = cast("Sequence[Scope]", scopes or ("chat", "account"))

    async def work(accounts: Accounts) -> tuple[ApiKey, str]:
        from cozy.storage.schema import utc_now

        found = await accounts.identity.find_user(user)
        until = utc_now() + expires if expires else None
        made, words = await accounts.identity.create_key(found.id, name, scopes=wanted, expires_at=until)
        await accounts.note("key.created", found.id, key=str(made.id), scopes=[*made.scopes])
        return made, words

    made, words = with_accounts(work)
    click.echo(words)
    until = f", until {made.expires_at.astimezone():%Y-%m-%d %H:%M}" if made.expires_at else ""
    click.echo(f"made `{made.name}` for {', '.join(made.scopes)}{until}; keep it: it is shown once", err=True)


@key.command("list")
@click.argument("user", metavar="[USER]", required=False)
@json_option
def list_(user: str | None, as_json: bool) -> None:
    """List the keys of USER, or of everybody."""
    from cozy.cli.tables import columns
    from cozy.interfaces.plain_values import plain

    async def work(accounts: Accounts) -> list[tuple[User, ApiKey]]:
        return await _keys(accounts.identity, user)

    found = with_accounts(work)
    if as_json:
        values = [{"username": owner.username, **plain(one)} for owner, one in found]
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
    elif found:
        rows = [("key", "user", "name", "scopes", "last used", "state")]
        rows += [
            (
                f"{one.prefix}…",
                owner.username,
                one.name,
                " ".join(one.scopes),
                f"{one.last_used_at.astimezone():%Y-%m-%d %H:%M}" if one.last_used_at else "never",
                _state(one),
            )
            for owner, one in found
        ]
        click.echo(columns(rows))
    else:
        click.echo("no keys; make one with `cozy key create USER`", err=True)


async def _keys(identity: IdentityAdmin, user: str | None) -> list[tuple[User, ApiKey]]:
    owners = await everybody(identity) if user is None else [await identity.find_user(user)]
    return [(owner, one) for owner in owners for one in await identity.keys(owner.id)]


def _state(one: ApiKey) -> str:
    from cozy.storage.schema import utc_now

    if one.revoked_at is not None:
        return "revoked"
    if one.expires_at is None:
        return "good"
    if one.expires_at <= utc_now():
        return "expired"
    return f"good until {one.expires_at.astimezone():%Y-%m-%d %H:%M}"


@key.command()
@click.argument("id_", metavar="ID")
def revoke(id_: str) -> None:
    """Revoke the key that ID names: its id, its beginning as `list` shows it, or the key itself.

    A running server refuses it within two seconds.
    """

    async def work(accounts: Accounts) -> tuple[User, ApiKey]:
        owner, one = _meant(await _keys(accounts.identity, None), id_)
        await accounts.identity.revoke_key(owner.id, one.id)
        await accounts.note("key.revoked", owner.id, key=str(one.id))
        return owner, one

    owner, one = with_accounts(work)
    click.echo(f"revoked `{one.name}` of `{owner.username}` ({one.prefix}…)", err=True)


def _meant(keys: Sequence[tuple[User, ApiKey]], id_: str) -> tuple[User, ApiKey]:
    """Raises NotFound, and Conflict where several may be meant."""
    from cozy.errors import Conflict, NotFound

    given = id_.strip().removesuffix("…")
    meant = [
        (owner, one)
        for owner, one in keys
        if str(one.id) == given.lower() or (len(given) >= len(one.prefix) and given.startswith(one.prefix))
    ]
    if not meant:
        raise NotFound("key", given[:36] if "cozy_" not in given else f"{given[:12]}…")
    if len(meant) > 1:
        ids = ", ".join(f"`{one.id}`" for _, one in meant)
        raise Conflict("several keys begin so", hint=f"name one by its id: {ids}")
    return meant[0]


@key.command("rotate-signing")
def rotate_signing() -> None:
    """Sign tokens with a new secret from now on; nobody is logged out.

    A running server follows within a minute. The old secret is deleted by a later rotation, once no token of
    it can be alive any more.
    """

    async def work(accounts: Accounts) -> str:
        made = await accounts.identity.rotate_signing_key()
        await accounts.note("signing_key.rotated", key=made)
        return made

    click.echo(with_accounts(work))
    click.echo("tokens are signed with this key from now on", err=True)
