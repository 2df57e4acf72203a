# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pkgutil
import subprocess
import sys
from typing import TYPE_CHECKING

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
