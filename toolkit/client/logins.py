# SPDX-License-Identifier: Apache-2.0
"""Logins to registries, where docker keeps them: ``~/.docker/config.json`` and its helpers.

What else stands in that file is left as it is. A login is sent to the engine with
each request that needs it; the engine keeps none.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX_SERVER: Final = "https://index.docker.io/v1/"
_INDEX_HOSTS: Final = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})
_TOKEN_USER: Final = "<token>"  # noqa: S105  # the name that says that the secret is a token
_HELPER_SECONDS: Final = 60
_HELPER_LETTERS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
)
_LARGEST_BYTES: Final = 4 * 1024 * 1024


class LoginError(InvalidRequestError):
    """The logins cannot be read or kept."""

    hint = "Look at config.json in ~/.docker, or in the directory that DOCKER_CONFIG names."


class Login(NamedTuple):
    """A login to one registry; all empty for nobody."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def document(self, server: str) -> dict[str, str]:
        """Return what docker calls an `AuthConfig`."""
        fields = {
            "username": self.username,
            "password": self.password,
            "identitytoken": self.identity_token,
            "serveraddress": server,
        }
        return {key: value for key, value in fields.items() if value} if any(self) else {}


def registry_of(name: str) -> str:
    """Return the key that a login for an image's registry is kept under."""
    first, slash, _ = name.partition("/")
    is_host = slash and (first == "localhost" or {".", ":"}.intersection(first))
    return server_key(first if is_host else "")


def server_key(server: str) -> str:
    """Return the key for a registry as a person spells it: a host, or docker's index."""
    host = _host_of(server)
    return INDEX_SERVER if host in _INDEX_HOSTS else host


def encoded(document: Mapping[str, Any]) -> str:
    """Return a document as the header ``X-Registry-Auth`` carries it."""
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


class LoginFile:
    """The file of one person."""

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> LoginFile:
        """Return the file that docker's command would use."""
        home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111  # as in wire.py
        directory = environ.get("DOCKER_CONFIG") or f"{home}/.docker"
        return cls(f"{directory}/config.json")

    def find(self, key: str) -> Login:
        """Return the login for a registry; nobody if there is none.

        Raises:
            LoginError: The file or the helper that it names cannot be used.
        """
        document = self._read()
        if helper := _helper(document, key):
            return _asked(helper, key)
        entries = _object(document, "auths")
        entry = entries.get(key)
        if entry is None:  # older files have URLs where newer ones have hosts
            wanted = _host_of(key)
            entry = next((one for name, one in entries.items() if _host_of(name) == wanted), None)
        return _decoded(entry) if isinstance(entry, dict) else Login()

    def every(self) -> dict[str, dict[str, str]]:
        """Return all logins that there are, as the engine takes them, by their keys.

        Raises:
            LoginError: The file or a helper that it names cannot be used.
        """
        document = self._read()
        keys = [*_object(document, "auths"), *_object(document, "credHelpers")]
        found = {key: self.find(key).document(key) for key in dict.fromkeys(keys)}
        return {key: login for key, login in found.items() if login}

    def keep(self, key: str, login: Login) -> str:
        """Keep a login; return where, for people.

        Raises:
            LoginError: It cannot be written.
        """
        document = self._read()
        if helper := _helper(document, key):
            secret = login.identity_token or login.password
            user = _TOKEN_USER if login.identity_token else login.username
            request = json.dumps({"ServerURL": key, "Username": user, "Secret": secret})
            _run_helper(helper, "store", request)
            return ""
        pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        entry = {"auth": pair}
        if login.identity_token:
            entry["identitytoken"] = login.identity_token
        document["auths"] = {**_object(document, "auths"), key: entry}
        self._write(document)
        return self._path

    def forget(self, key: str) -> bool:
        """Forget a login; say whether there was one.

        Raises:
            LoginError: The file cannot be written.
        """
        document = self._read()
        if helper := _helper(document, key):
            if not any(_asked(helper, key)):
                return False
            _run_helper(helper, "erase", key)
            return True
        entries = _object(document, "auths")
        wanted = _host_of(key)
        kept = {name: one for name, one in entries.items() if _host_of(name) != wanted}
        if len(kept) == len(entries):
            return False
        document["auths"] = kept
        self._write(document)
        return True

    def _read(self) -> dict[str, Any]:
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123  # pathlib costs an import
                document = json.loads(file.read(_LARGEST_BYTES) or b"{}")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise LoginError(f"{self._path}: {error}") from error
        if not isinstance(document, dict):
            raise LoginError(f"{self._path}: is no JSON object")
        return document

    def _write(self, document: Mapping[str, Any]) -> None:
        """Replace the file, or what it is a link to, at once; only its owner may read it."""
        path = os.path.realpath(self._path)
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)  # noqa: PTH103, PTH120  # as above
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(document, file, indent="\t")
                file.flush()
                os.fsync(fd)
            os.rename(temporary, path)  # noqa: PTH104  # as above
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108  # as above
            raise LoginError(f"{path}: {error.strerror}") from error


def _host_of(text: str) -> str:
    """Return the host, with its port, of a URL or of what has no scheme."""
    rest = text.partition("://")[2] if "://" in text else text
    return rest.partition("/")[0].lower()


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _decoded(entry: Mapping[str, Any]) -> Login:
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if text := entry.get("auth"):
        try:
            pair = base64.b64decode(str(text)).decode()
        except ValueError as error:
            raise LoginError("a login in config.json is not base64") from error
        username, _, password = pair.rstrip("\0").partition(":")
    return Login(username, password, str(entry.get("identitytoken", "")))


def _helper(document: Mapping[str, Any], key: str) -> str:
    """Return the name of the program that keeps a registry's login; empty for the file."""
    helpers = _object(document, "credHelpers")
    name = helpers.get(key) or helpers.get(_host_of(key)) or document.get("credsStore") or ""
    if not isinstance(name, str) or not _HELPER_LETTERS.issuperset(name):
        raise LoginError(f"{name!r} names no credential helper")
    return name


def _asked(helper: str, key: str) -> Login:
    try:
        answer = json.loads(_run_helper(helper, "get", key))
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except _NothingKeptError:
        return Login()
    except (ValueError, KeyError, TypeError) as error:
        raise LoginError(f"docker-credential-{helper}: its answer cannot be read") from error
    return Login("", "", secret) if user == _TOKEN_USER else Login(user, secret)


class _NothingKeptError(Exception):
    """A helper has no such login."""


def _run_helper(helper: str, verb: str, request: str) -> str:
    import subprocess  # noqa: PLC0415  # rarely needed, and costs an import

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # noqa: S603  # a program that the person's own file names
            [program, verb],
            input=request.encode(),
            capture_output=True,
            check=False,
            timeout=_HELPER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoginError(f"{program} {verb}: {error}") from error
    said = done.stdout.decode(errors="replace")
    if done.returncode == 0:
        return said
    if "credentials not found" in said:
        raise _NothingKeptError
    raise LoginError(f"{program} {verb}: {said.strip() or done.returncode}")
