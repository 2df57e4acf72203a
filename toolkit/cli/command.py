# SPDX-License-Identifier: Apache-2.0
"""How commands take their words: docker's forms of flags on top of click.

Owns ``--flag=false``, and options that end at the first other word, so that everything
after an image belongs to the container.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false"})


class OutputClosedError(Exception):
    """Nobody reads the output any more: there is nobody to tell."""


class Command(click.Command):
    """A command whose boolean flags also take ``=true`` and ``=false``."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed output is no failure with the code 1, as click has it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosedError from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words, flags with a value first made plain."""
        return super().parse_args(ctx, self._plain(ctx, args))

    def _plain(self, ctx: click.Context, args: list[str]) -> list[str]:
        plain: list[str] = []
        rest = iter(args)
        for word in rest:
            if word == "--":
                return [*plain, word, *rest]
            if word.startswith("-") and word != "-":
                flag, equals, value = word.partition("=")
                option = self._flag(flag)
                plain += _plain_flag(option, flag, value) if option and equals else [word]
                if not equals and self._takes_next(word):
                    plain.extend(islice(rest, 1))
            else:
                plain.append(word)
                if not ctx.allow_interspersed_args:
                    return [*plain, *rest]
        return plain

    def _option(self, name: str) -> click.Option | None:
        for parameter in self.params:
            if isinstance(parameter, click.Option) and name in parameter.opts:
                return parameter
        return None

    def _flag(self, name: str) -> click.Option | None:
        option = self._option(name)
        return option if option is not None and option.is_flag else None

    def _takes_next(self, word: str) -> bool:
        """Return whether a word without ``=`` is an option whose value is the next word."""
        if word.startswith("--"):
            option = self._option(word)
            return option is not None and not option.is_flag
        for position, letter in enumerate(word[1:], start=1):
            option = self._option(f"-{letter}")
            if option is None:
                return False
            if not option.is_flag:
                return position == len(word) - 1
        return False


def _plain_flag(option: click.Option, flag: str, value: str) -> list[str]:
    lowered = value.lower()
    if lowered in _TRUE:
        return [flag]
    if lowered in _FALSE:
        return list(option.secondary_opts[:1])
    raise click.BadParameter(f"{value!r} is not a boolean", param_hint=flag)


def command(name: str, *, interspersed: bool = True) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command; not *interspersed* leaves what follows the first word alone."""
    settings = {"allow_interspersed_args": interspersed}
    return click.command(name, cls=Command, context_settings=settings)


def switch(*names: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: A002  # click's word
    """Declare a boolean flag, off unless given."""
    return click.option(*names, is_flag=True, default=False, help=help)


def repeated(*names: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: A002  # click's word
    """Declare an option that may be given again and again."""
    return click.option(*names, multiple=True, help=help)
