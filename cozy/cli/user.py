"""`cozy user`: who may come in."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import click

from cozy.cli.opened import with_accounts

if TYPE_CHECKING:
    from cozy.cli.opened import Accounts
    from cozy.ports.erasure import Erasure
    from cozy.ports.identity import IdentityAdmin, User, UserRole

PAGE = 500
LONGEST_PASSWORD_BYTES = 16_384

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@click.group()
def user() -> None:
    """Make, list and change users.

    NAME is a user's name, e-mail address or id. A running server follows within two seconds.
    """


@user.command()
@click.argument("name")
@click.option("--email", metavar="ADDRESS", help="Their e-mail address.")
@click.option(
    "--role",
    type=click.Choice(["user", "admin"]),
    default="user",
    show_default=True,
    help="What they may do.",
)
@stdin_option
@click.option("--no-password", is_flag=True, help="They cannot log in; their keys work.")
def create(name: str, email: str | None, role: str, password_stdin: bool, no_password: bool) -> None:
    """Make a user called NAME; their password is asked for."""
    if no_password and password_stdin:
        raise click.UsageError("say --password-stdin or --no-password, not both")
    password = None if no_password else _password(password_stdin)

    async def work(accounts: Accounts) -> User:
        made = await accounts.identity.create_user(
            name, email=email, password=password, role=cast("UserRole", role)
        )
        await accounts.note("user.created", made.id, role=role)
        return made

    made = with_accounts(work)
    click.echo(made.id)
    click.echo(f"made `{made.username}`", err=True)


@user.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the users by name."""
    from cozy.cli.tables import columns
    from cozy.interfaces.plain_values import plain

    found = with_accounts(lambda accounts: everybody(accounts.identity))
    if as_json:
        click.echo(json.dumps(plain(found), ensure_ascii=False, indent=2))
    elif found:
        rows = [("name", "role", "e-mail", "second factor", "last login")]
        rows += [
            (
                u.username,
                u.role if u.is_active else f"{u.role}, closed",
                u.email or "-",
                "yes" if u.has_second_factor else "no",
                f"{u.last_login_at.astimezone():%Y-%m-%d %H:%M}" if u.last_login_at else "never",
            )
            for u in found
        ]
        click.echo(columns(rows))
    else:
        click.echo("no users; make one with `cozy user create NAME`", err=True)


async def everybody(identity: IdentityAdmin) -> list[User]:
    """All users, by name."""
    found: list[User] = []
    while page := await identity.users(limit=PAGE, offset=len(found)):
        found += page
    return found


@user.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the account of the user NAME, and what of them is not erased yet; no secrets."""
    from cozy.cli.tables import columns
    from cozy.interfaces.plain_values import plain

    async def work(accounts: Accounts) -> tuple[User, Erasure]:
        found = await accounts.identity.find_user(name)
        return found, await accounts.erasures.state(found.id)

    found, erasure = with_accounts(work)
    values = plain(found)
    values["erased_at"] = plain(erasure.erased_at)
    values["not_erased_yet"] = [one.target for one in erasure.waiting]
    if as_json:
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    shown = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in values.items()}
    click.echo(columns(list(shown.items())))


@user.command()
@click.argument("name")
@stdin_option
def password(name: str, password_stdin: bool) -> None:
    """Give the user NAME a new password; every login of theirs ends."""
    new = _password(password_stdin)

    async def work(accounts: Accounts, found: User) -> None:
        await accounts.identity.set_password(found.id, new)
        await accounts.note("user.password_changed", found.id)

    _change(name, work, "has a new password")


@user.command()
@click.argument("name")
@click.argument("new", metavar="ROLE", type=click.Choice(["user", "admin"]))
def role(name: str, new: str) -> None:
    """Make the user NAME an `admin`, or a `user` again."""

    async def work(accounts: Accounts, found: User) -> None:
        await accounts.identity.set_role(found.id, cast("UserRole", new))
        await accounts.note("user.role_changed", found.id, role=new)

    _change(name, work, f"has the role `{new}`")


@user.command()
@click.argument("name")
def disable(name: str) -> None:
    """Close the account of the user NAME; every login of theirs ends, and their keys are refused."""

    async def work(accounts: Accounts, found: User) -> None:
        await accounts.identity.set_active(found.id, False)
        await accounts.note("user.disabled", found.id)

    _change(name, work, "is closed")


@user.command()
@click.argument("name")
def enable(name: str) -> None:
    """Open the account of the user NAME again."""

    async def work(accounts: Accounts, found: User) -> None:
        await accounts.identity.set_active(found.id, True)
        await accounts.note("user.enabled", found.id)

    _change(name, work, "is open")


@user.command()
@click.argument("name")
@click.option("--status", is_flag=True, help="Only tell how far it is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase(name: str, status: bool, yes: bool, as_json: bool) -> None:
    """Erase all that is kept of what the user NAME said.

    Sessions, messages, memories, profile and jobs that wait go at once, with what the account says of the
    person; a running `cozy serve` or `cozy chat` has every engine forget the user, however long that takes.
    The account itself stays, with its name, e-mail address and keys; `cozy user disable` closes it.
    """
    from cozy.interfaces.plain_values import plain

    async def work(accounts: Accounts) -> tuple[User, Erasure]:
        found = await accounts.identity.find_user(name)
        if status:
            return found, await accounts.erasures.state(found.id)
        return found, await accounts.erasures.erase(found.id, accounts.event("user.erased", found.id))

    if not (status or yes):
        click.confirm(f"erase all that is kept of what `{name}` said?", abort=True, err=True)
    found, erasure = with_accounts(work)
    if as_json:
        click.echo(json.dumps(plain(erasure), ensure_ascii=False, indent=2))
        return
    if erasure.erased_at is None:
        click.echo(f"`{found.username}` has never been erased", err=True)
        return
    if not status:
        gone = {table: count for table, count in erasure.removed.items() if count}
        what = ", ".join(f"{count} in {table}" for table, count in sorted(gone.items()))
        click.echo(f"erased what was kept of `{found.username}`: {what or 'nothing was'}", err=True)
    _tell_what_is_left(found, erasure)


def _tell_what_is_left(found: User, erasure: Erasure) -> None:
    from cozy.cli.tables import columns

    if not erasure.waiting:
        click.echo(f"every engine has forgotten `{found.username}`", err=True)
        return
    click.echo("not erased yet; a running `cozy serve` or `cozy chat` goes on until it is:", err=True)
    rows = [("engine", "since", "attempts", "next", "last error")]
    rows += [
        (
            one.target,
            f"{one.since.astimezone():%Y-%m-%d %H:%M}",
            f"{one.attempts}",
            f"{one.due_at.astimezone():%Y-%m-%d %H:%M}",
            one.last_error or "-",
        )
        for one in erasure.waiting
    ]
    click.echo(columns(rows))


@user.command("second-factor")
@click.argument("name")
@click.option("--reset", is_flag=True, help="Take it away: they have lost their authenticator.")
def second_factor(name: str, reset: bool) -> None:
    """Tell whether the user NAME has a second factor, or take it away."""
    if not reset:
        found = with_accounts(lambda accounts: accounts.identity.find_user(name))
        click.echo("yes" if found.has_second_factor else "no")
        return

    async def work(accounts: Accounts, found: User) -> None:
        await accounts.identity.reset_second_factor(found.id)
        await accounts.note("user.second_factor_reset", found.id)

    _change(name, work, "has no second factor")


def _change(name: str, work: Callable[[Accounts, User], Awaitable[None]], said: str) -> None:
    async def change(accounts: Accounts) -> User:
        found = await accounts.identity.find_user(name)
        await work(accounts, found)
        return found

    click.echo(f"`{with_accounts(change).username}` {said}", err=True)


def _password(from_stdin: bool) -> str:
    """What somebody types twice, unseen, or what standard input holds without its last line break."""
    if from_stdin:
        read = sys.stdin.buffer.read(LONGEST_PASSWORD_BYTES + 1)
        if len(read) > LONGEST_PASSWORD_BYTES:
            raise click.UsageError("standard input holds more than a password")
        try:
            return read.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise click.UsageError("the password is no UTF-8") from None
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password at; say --password-stdin")
    return click.prompt("password", hide_input=True, confirmation_prompt="again", err=True)
