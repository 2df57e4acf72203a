# SPDX-License-Identifier: Apache-2.0
"""How a command gets at an engine: which one, and starting it if nobody has."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import click

from toolkit.client import Client, EngineForbiddenError, Host, resolve_host
from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable


class EngineNotStartedError(EngineUnreachableError):
    """No engine listens, and this user cannot start one."""

    hint = "Run the command as root: it starts the engine by itself. Or set DOCKER_HOST."


class EngineAccess:
    """The engine that this command line talks to, found when first asked for.

    Attributes:
        host: Its address.
    """

    def __init__(self, explicit_host: str | None) -> None:
        self._explicit_host = explicit_host

    @cached_property
    def host(self) -> Host:
        """The address, by option, environment or default."""
        return resolve_host(self._explicit_host, os.environ)

    @cached_property
    def client(self) -> Client:
        """A client of an engine that listens.

        Raises:
            EngineUnreachableError: None does, and none could be started.
        """
        client = Client(self.host.url)
        try:
            _ = client.api_version
        except EngineForbiddenError:
            raise
        except EngineUnreachableError as error:
            if not self.host.is_default:
                raise
            if os.geteuid() != 0:
                raise EngineNotStartedError(str(error)) from error
            from toolkit.client.local_engine import start_engine  # noqa: PLC0415  # rarely needed

            start_engine(self.host.instance)
        return client

    def close(self) -> None:
        """Close the client, if there is one."""
        if "client" in self.__dict__:
            self.client.close()


pass_access: Callable[..., Callable[..., object]] = click.make_pass_decorator(EngineAccess)
