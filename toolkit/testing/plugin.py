# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: fixtures, options and reports.

Every run of pytest imports it where the toolkit is installed, so it imports nothing
but pytest until a fixture is used. What the fixtures do stands in the modules
beside this one.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from toolkit.client.host import Host
    from toolkit.testing import sharing
    from toolkit.testing.engine import ContainerEngine, RunContainer
    from toolkit.testing.images import ContainerImage
    from toolkit.testing.infra import ContainerHost
    from toolkit.testing.resources import Network, Volume
    from toolkit.testing.sandbox import Sandbox
    from toolkit.testing.terminal import ContainerTerminal

_FIXTURES = frozenset(
    {
        "container_engine",
        "container_host",
        "container_image",
        "container_network",
        "container_sandbox",
        "container_terminal",
        "container_volume",
        "run_container",
        "shared_container",
    }
)
_MARKER = "needs_containers: the test uses containers (set by itself where a fixture does)"
_KEPT = "container kept"
_run_id_key = pytest.StashKey[str]()
_own_key = pytest.StashKey["sharing.OwnContainers"]()
_shared_key = pytest.StashKey["sharing.SharedContainers"]()
_kept_key = pytest.StashKey[list[str]]()
_KEEP = ("never", "failed", "always")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the plugin."""
    group = parser.getgroup("containers", "containers in tests")
    group.addoption(
        "--container-engine",
        metavar="HOST",
        default=None,
        help="engine that tests use: unix:// and a path, or 'private' for one of their own "
        "(default: TOOLKIT_HOST, DOCKER_HOST, else a private one if root on Linux)",
    )
    group.addoption(
        "--keep-containers",
        choices=_KEEP,
        default="never",
        help="containers that outlive their test, for you to look into (default: never)",
    )
    group.addoption(
        "--container-logs",
        metavar="DIR",
        default=None,
        help="write the log of every container to a file below this directory",
    )
    group.addoption(
        "--container-timeout-factor",
        metavar="FACTOR",
        default=None,
        help="make every wait for a container that much longer, where the engine's machine is slow "
        "(default: TOOLKIT_TIMEOUT_FACTOR, else 1)",
    )
    parser.addini("container_engine", "as --container-engine", default="")
    parser.addini("container_timeout_factor", "as --container-timeout-factor", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and give the run a name that its processes share."""
    config.addinivalue_line("markers", _MARKER)
    given = getattr(config, "workerinput", {}).get("testrunuid")  # set by pytest-xdist
    config.stash[_run_id_key] = given or uuid.uuid4().hex
    config.stash[_kept_key] = []


def pytest_report_header(config: pytest.Config) -> str:
    """Say which engine this run would use, and what named it."""
    from toolkit.errors import InvalidRequestError  # noqa: PLC0415  # not before it is asked for
    from toolkit.testing import discovery  # noqa: PLC0415  # same

    try:
        named = discovery.named_host(_engine_option(config), os.environ)
    except InvalidRequestError as error:
        return f"container engine: none ({error})"
    if named is not None:
        return f"container engine: {named.url} (from {named.source}, {_state_of(named)})"
    instance = discovery.private_instance(os.environ)
    return f"container engine: private, instance {instance} (started when a test needs it)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use containers, so that ``-m "not needs_containers"`` works."""
    for item in items:
        if _uses_containers(item):
            item.add_marker(pytest.mark.needs_containers)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the containers say into the report of a test that failed, and keep them if asked."""
    if call.excinfo is not None and _uses_containers(item):
        _explain(call.excinfo, item.config)
    own = item.stash.get(_own_key, None)
    if own is None or call.when == "teardown":
        return (yield)
    failed = call.excinfo is not None and not call.excinfo.errisinstance(_outcomes())
    ended = failed or call.when == "call"
    kept = _keep(item, own, failed=failed) if ended else []
    if ended:
        _write_logs(item, own)
    report = yield
    if failed:
        _add_sections(report, item, own)
    report.sections += [(_KEPT, text) for text in kept]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect what was kept, also by workers of xdist, for the end of the run."""
    _kept_texts.extend(text for title, text in report.sections if title == _KEPT)


_kept_texts: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how to enter the containers that were kept."""
    if _kept_texts:
        terminalreporter.section("containers kept")
        for text in _kept_texts:
            terminalreporter.write_line(text)
        _kept_texts.clear()


@pytest.fixture(scope="session")
def container_engine(request: pytest.FixtureRequest) -> Iterator[ContainerEngine]:
    """Give the engine of this run; skip where there is none, fail where ``CI`` is set."""
    from toolkit.errors import ToolkitError  # noqa: PLC0415  # not before it is asked for

    try:
        engine = _open_engine(request.config)
    except ToolkitError as error:
        reason = f"{error}. {error.hint}" if error.hint else str(error)
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            raise pytest.fail.Exception(reason, pytrace=False) from None
        raise pytest.skip.Exception(reason) from None
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def _own_containers(
    container_engine: ContainerEngine, request: pytest.FixtureRequest
) -> Iterator[sharing.OwnContainers]:
    """Hold what one test has, so that containers go before networks and volumes."""
    from toolkit.testing.sharing import OwnContainers  # noqa: PLC0415  # not before it is asked for

    own = OwnContainers(container_engine, {"toolkit.test": request.node.nodeid})
    request.node.stash[_own_key] = own
    try:
        yield own
    finally:
        own.close()


@pytest.fixture
def run_container(_own_containers: sharing.OwnContainers) -> RunContainer:
    """Start containers that live as long as the test; a failure shows their logs."""
    return _own_containers


@pytest.fixture(scope="session")
def shared_container(
    container_engine: ContainerEngine, request: pytest.FixtureRequest
) -> Iterator[RunContainer]:
    """Start containers once for the whole run, all workers of xdist together.

    On docker's own engine, which has no leases, each worker has one of its own.
    """
    from toolkit.testing.sharing import SharedContainers  # noqa: PLC0415  # as above

    shared = SharedContainers(container_engine)
    request.session.stash[_shared_key] = shared
    try:
        yield shared
    finally:
        shared.close()


@pytest.fixture
def container_network(
    container_engine: ContainerEngine, _own_containers: sharing.OwnContainers
) -> Network:
    """Give a network of the test's own; a text that is its name."""
    from toolkit.testing.resources import Network  # noqa: PLC0415  # as above

    return Network.create(container_engine, _own_containers.resources)


@pytest.fixture
def container_volume(
    container_engine: ContainerEngine, _own_containers: sharing.OwnContainers
) -> Volume:
    """Give a volume of the test's own; a text that is its name."""
    from toolkit.testing.resources import Volume  # noqa: PLC0415  # as above

    return Volume.create(container_engine, _own_containers.resources)


@pytest.fixture(scope="session")
def container_image(container_engine: ContainerEngine) -> ContainerImage:
    """Make sure of images: pull, load, build or bootstrap them once for the whole run.

    On docker's own engine, which has no leases, each worker does so by itself.
    """
    from toolkit.testing.images import ContainerImage  # noqa: PLC0415  # as above

    return ContainerImage(container_engine)


@pytest.fixture
def container_host() -> ContainerHost:
    """Bind testinfra to a container: ``container_host(container).service("x").is_running``."""
    pytest.importorskip("testinfra", reason="container_host needs pytest-testinfra")
    from toolkit.testing.infra import host_of  # noqa: PLC0415  # as above

    return host_of


@pytest.fixture
def container_terminal() -> Iterator[ContainerTerminal]:
    """Sit down at the terminal of a container, and wait for what should appear on it."""
    pytest.importorskip("ptyprocess", reason="container_terminal needs ptyprocess")
    from toolkit.testing.terminal import ContainerTerminal  # noqa: PLC0415  # as above

    terminals = ContainerTerminal()
    try:
        yield terminals
    finally:
        terminals.close()


@pytest.fixture
def container_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Give a private engine in a network namespace of its own, dropped at the end of the test."""
    from toolkit.testing.discovery import NoEngineError  # noqa: PLC0415  # as above
    from toolkit.testing.sandbox import Sandbox  # noqa: PLC0415  # as above

    try:
        sandbox = Sandbox.launch(request.config.stash[_run_id_key])
    except NoEngineError as error:
        pytest.skip(f"{error}. {error.hint}")
    try:
        yield sandbox
    finally:
        sandbox.close()


def _uses_containers(item: pytest.Item) -> bool:
    return not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _explain(failure: pytest.ExceptionInfo[BaseException], config: pytest.Config) -> None:
    from toolkit.testing.reports import explain  # noqa: PLC0415  # not before it is needed

    explain(failure, full_trace=config.getoption("--full-trace"))


def _engine_option(config: pytest.Config) -> str | None:
    return config.getoption("--container-engine") or config.getini("container_engine") or None


def _state_of(host: Host) -> str:
    from pathlib import Path  # noqa: PLC0415  # as above

    from toolkit.client.local_engine import is_listening  # noqa: PLC0415  # as above

    return "listening" if is_listening(Path(host.socket_path)) else "not listening"


def _open_engine(config: pytest.Config) -> ContainerEngine:
    from toolkit.testing.engine import open_engine  # noqa: PLC0415  # as above

    run_id, factor = config.stash[_run_id_key], _timeout_factor(config)
    return open_engine(_engine_option(config), os.environ, run_id, timeout_factor=factor)


def _timeout_factor(config: pytest.Config) -> float:
    """Return how much longer waits are; the option, the environment, the ini option."""
    option = config.getoption("--container-timeout-factor")
    variable = os.environ.get("TOOLKIT_TIMEOUT_FACTOR")
    text = option or variable or config.getini("container_timeout_factor") or "1"
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise pytest.UsageError(f"container timeout factor {text!r}: use a number above 0")
    return factor


def _outcomes() -> tuple[type[BaseException], ...]:
    """Return what ends a test without being a failure."""
    return (pytest.skip.Exception, KeyboardInterrupt)


def _keep(item: pytest.Item, own: sharing.OwnContainers, *, failed: bool) -> list[str]:
    from toolkit.errors import ToolkitError  # noqa: PLC0415  # as above
    from toolkit.testing.reports import how_to_enter  # noqa: PLC0415  # as above

    mode = item.config.getoption("--keep-containers")
    if mode == "never" or (mode == "failed" and not failed):
        return []
    try:
        return [how_to_enter(container) for container in own.keep()]
    except (ToolkitError, OSError) as error:
        return [f"could not be kept: {error}"]


def _write_logs(item: pytest.Item, own: sharing.OwnContainers) -> None:
    if (directory := item.config.getoption("--container-logs")) is None:
        return
    from pathlib import Path  # noqa: PLC0415  # as above

    from toolkit.testing.reports import write_logs  # noqa: PLC0415  # as above

    written = write_logs(Path(directory).absolute(), item.nodeid, own.started)
    item.user_properties += [("container-log", str(path)) for path in written]
    if written and item.config.getoption("--junitxml", None):
        lines = "".join(f"[[ATTACHMENT|{path}]]\n" for path in written)  # as Jenkins finds them
        item.add_report_section("call", "stdout", lines)


def _add_sections(report: pytest.TestReport, item: pytest.Item, own: sharing.OwnContainers) -> None:
    from toolkit.testing.reports import describe  # noqa: PLC0415  # as above

    shared = item.session.stash.get(_shared_key, None)
    for container in [*own.started, *(shared.held if shared is not None else [])]:
        text = describe(container)
        report.sections.append((f"container {container.name}", text))
        # JUnit's file takes what the last report, the teardown's, has of the test.
        item.user_properties.append((f"container {container.name}", text.partition("\n")[0]))
