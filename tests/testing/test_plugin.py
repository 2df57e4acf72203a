# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pkgutil
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.testing import plugin

if TYPE_CHECKING:
    from pathlib import Path


def run_pytest(directory: Path, *words: str) -> str:
    """Run pytest with the plugin in another process, strictly; return what it prints."""
    (directory / "test_x.py").write_text("def test_x(): pass\n")
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--strict-config", "--strict-markers"),
            *("-p", "toolkit.testing.plugin", "-p", "no:cacheprovider", "-W", "error"),
            *words,
            str(directory),
        ],
        env={
            "PYTHONPATH": ":".join(filter(None, sys.path)),
            "TOOLKIT_INSTANCE": "nobody",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_header_names_the_private_engine(tmp_path: Path) -> None:
    header = "container engine: private, instance nobody-pt (started when a test needs it)"
    assert header in run_pytest(tmp_path)


def test_the_option_names_another_engine(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, "--container-engine", f"unix://{tmp_path}/e.sock")
    assert (
        f"container engine: unix://{tmp_path}/e.sock (from --container-engine, not listening)"
        in out
    )


def test_a_bad_address_is_said_and_fails_no_test(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, "--container-engine", "tcp://x")
    assert "container engine: none" in out


def test_importing_the_plugin_loads_nothing_that_pytest_has_not_loaded() -> None:
    """Whoever has it installed and uses none of it waits for no import."""
    code = (
        "import sys, pytest; before = set(sys.modules); import toolkit.testing.plugin; "
        "print(*set(sys.modules) - before)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert sorted(loaded) == ["toolkit", "toolkit.testing", "toolkit.testing.plugin"]


def test_no_exported_name_is_hidden_by_a_module() -> None:
    """A module of that name, once imported, would take the name's place in the package."""
    import toolkit.testing  # noqa: PLC0415 - the package itself is looked at

    modules = {found.name for found in pkgutil.iter_modules(toolkit.testing.__path__)}
    assert not modules & set(toolkit.testing.__all__)
    for name in toolkit.testing.__all__:
        assert callable(getattr(toolkit.testing, name))


@pytest.mark.parametrize(
    ("option", "variable", "ini", "factor"),
    [("", "", "", 1), ("", "", "2", 2), ("", "3", "2", 3), ("4.5", "3", "2", 4.5)],
)
def test_the_option_goes_before_the_variable_before_the_ini_file(
    monkeypatch: pytest.MonkeyPatch, option: str, variable: str, ini: str, factor: float
) -> None:
    monkeypatch.setenv("TOOLKIT_TIMEOUT_FACTOR", variable)
    assert plugin._timeout_factor(config_of(option, ini)) == factor


@pytest.mark.parametrize("text", ["0", "-1", "x", "nan", "inf"])
def test_a_factor_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delenv("TOOLKIT_TIMEOUT_FACTOR", raising=False)
    with pytest.raises(pytest.UsageError, match="use a number above 0"):
        plugin._timeout_factor(config_of(text, ""))


def config_of(option: str, ini: str) -> Any:
    return SimpleNamespace(getoption=lambda _: option or None, getini=lambda _: ini)
