# SPDX-License-Identifier: Apache-2.0
"""A typed client of the Docker Engine API: what the command line, fixtures and `vm` stand on.

Standard library only, and little of that: importing it stays under 40 ms, so neither
`http.client` nor `dataclasses` is used here. It knows the wire, not what a container is.
"""

from toolkit.client.client import Client
from toolkit.client.errors import (
    ApiError,
    ConnectionLostError,
    EngineForbiddenError,
    EngineSilentError,
    StreamError,
)
from toolkit.client.host import Host, resolve_host
from toolkit.client.wire import HijackedConnection

__all__ = [
    "ApiError",
    "Client",
    "ConnectionLostError",
    "EngineForbiddenError",
    "EngineSilentError",
    "HijackedConnection",
    "Host",
    "StreamError",
    "resolve_host",
]
