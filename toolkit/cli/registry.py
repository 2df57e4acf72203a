# SPDX-License-Identifier: Apache-2.0
"""`pull`, `push`, `login`, `logout` and `search`: the registries."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.containers import parse_filters, print_rows
from toolkit.cli.output import escape, say, warn
from toolkit.cli.progress import show_progress
from toolkit.cli.references import canonical, split_tag
from toolkit.cli.terminal import is_terminal
from toolkit.client.logins import Login, LoginFile, registry_of, server_key
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SHOWN_DESCRIPTION: Final = 45
_SEARCH_COLUMNS: Final = {
    "NAME": "Name",
    "DESCRIPTION": "Description",
    "STARS": "StarCount",
    "OFFICIAL": "IsOfficial",
}


@command("pull")
@switch("-a", "--all-tags", help="All tags of the repository.")
@click.option("--platform", default="", help="os/architecture[/variant] of a list.")
@switch("-q", "--quiet", help="Show the name only.")
@click.argument("image", metavar="NAME[:TAG|@DIGEST]")
@pass_access
def pull(access: EngineAccess, image: str, *, all_tags: bool, platform: str, quiet: bool) -> None:
    """Fetch an image from its registry."""
    name, tag = split_tag(image)
    if all_tags and tag:
        raise InvalidRequestError("tag can't be used with --all-tags/-a")
    if not all_tags and not tag:
        tag = "latest"
        if not quiet:
            say("Using default tag: latest")
    messages = access.client.images.pull(name, tag, platform=platform, login=login_for(name))
    _follow(messages, quiet=quiet)
    say(escape(canonical(name, tag)))


@command("push")
@switch("-a", "--all-tags", help="All tags of the repository that are here.")
@switch("-q", "--quiet", help="Show the name only.")
@click.argument("image", metavar="NAME[:TAG]")
@pass_access
def push(access: EngineAccess, image: str, *, all_tags: bool, quiet: bool) -> None:
    """Send an image to its registry."""
    name, tag = split_tag(image)
    if all_tags and tag:
        raise InvalidRequestError("tag can't be used with --all-tags/-a")
    if not all_tags and not tag:
        tag = "latest"
        if not quiet:
            say("Using default tag: latest")
    _follow(access.client.images.push(name, tag, login=login_for(name)), quiet=quiet)
    if quiet:
        say(escape(canonical(name, tag)))


def login_for(name: str) -> Mapping[str, str]:
    """Return the login for an image's registry, as the engine takes it; empty for nobody."""
    key = registry_of(name)
    return LoginFile.of(os.environ).find(key).document(key)


def _follow(messages: Iterable[Mapping[str, Any]], *, quiet: bool) -> None:
    if not quiet:
        show_progress(messages)
        return
    for _ in messages:  # failures are raised
        pass


@command("login")
@click.option("-u", "--username", default="", help="Name.")
@click.option("-p", "--password", default="", help="Password; others can see it.")
@switch("--password-stdin", help="Read the password from standard input.")
@click.argument("server", default="")
@pass_access
def login(
    access: EngineAccess, server: str, username: str, password: str, *, password_stdin: bool
) -> None:
    """Log in to a registry, and remember the login; Docker Hub if none is named."""
    key = server_key(server)
    given = _asked(key, username, _password(password, is_read=password_stdin, has_name=username))
    answer = access.client.registries.log_in(given.document(key))
    kept = given._replace(identity_token=str(answer.get("IdentityToken") or ""))
    path = LoginFile.of(os.environ).keep(key, kept)
    if path:
        warn(f"WARNING! Your password is stored unencrypted in {path}.")
    say(escape(str(answer.get("Status") or "Login Succeeded")))


def _password(password: str, *, is_read: bool, has_name: str) -> str:
    if not is_read:
        if password:
            warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        return password
    if password:
        raise InvalidRequestError("--password and --password-stdin are mutually exclusive")
    if not has_name:
        raise InvalidRequestError("Must provide --username with --password-stdin")
    return sys.stdin.read().rstrip("\r\n")


def _asked(key: str, username: str, password: str) -> Login:
    """Return the login, asking on the terminal for what was not given."""
    known = LoginFile.of(os.environ).find(key)
    if not username and not password and any(known) and not is_terminal(0):
        return known
    if not (username and password) and not is_terminal(0):
        raise InvalidRequestError("cannot perform an interactive login from a non TTY device")
    username = username or click.prompt("Username", default=known.username or None)
    return Login(username, password or click.prompt("Password", hide_input=True))


@command("logout")
@click.argument("server", default="")
def logout(server: str) -> None:
    """Forget the login to a registry; Docker Hub's if none is named."""
    key = server_key(server)
    if LoginFile.of(os.environ).forget(key):
        say(f"Removing login credentials for {escape(key)}")
    else:
        say(f"Not logged in to {escape(key)}")


@command("search")
@repeated("-f", "--filter", help="Condition, key=value.")
@click.option("--format", "template", default="", help="table, json, or a template.")
@click.option("--limit", default=0, help="Most repositories to show.")
@switch("--no-trunc", help="Do not cut anything short.")
@click.argument("term", metavar="[HOST/]TERM")
@pass_access
def search(access: EngineAccess, term: str, *, no_trunc: bool, **options: Any) -> None:
    """Look for repositories in a registry; in Docker Hub if none is named."""
    key = registry_of(term)
    found = access.client.registries.search(
        term,
        limit=options["limit"],
        filters=parse_filters(options["filter"]),
        login=LoginFile.of(os.environ).find(key).document(key),
    )
    rows = list(_rows(found, is_cut=not no_trunc))
    print_rows(rows, _SEARCH_COLUMNS, options["template"])


def _rows(found: Iterable[Mapping[str, Any]], *, is_cut: bool) -> Iterator[dict[str, str]]:
    for one in found:
        description = " ".join(str(one.get("description") or "").split())
        if is_cut and len(description) > _SHOWN_DESCRIPTION:
            description = description[: _SHOWN_DESCRIPTION - 1] + "\N{HORIZONTAL ELLIPSIS}"
        yield {
            "Name": str(one.get("name", "")),
            "Description": description,
            "StarCount": str(one.get("star_count", 0)),
            "IsOfficial": "[OK]" if one.get("is_official") else "",
        }
