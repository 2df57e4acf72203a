# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.vm.login import Login
from toolkit.vm.tree import Tree, touches_engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ITEMIZED = """\
.d..t...... toolkit/
<f.st...... toolkit/vm/tree.py
<f+++++++++ docs/new page.md
*deleting   tests/old.py
"""


def test_the_files_that_changed_are_told_and_directories_are_not(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def run(argv: Sequence[str], **_: Any) -> str:
        asked.append(list(argv))
        return ITEMIZED

    login = Login(machine="machine1", directory=tmp_path)
    changed = Tree(repository=tmp_path, run=run).bring_to(login)
    assert changed == ["toolkit/vm/tree.py", "docs/new page.md", "tests/old.py"]
    assert asked[0][-1] == "machine1:/toolkit/"
    assert "--exclude=.git" in asked[0]


def test_only_the_engines_code_calls_for_a_new_start() -> None:
    assert touches_engine(["docs/a.md", "toolkit/api/main.py"])
    assert not touches_engine(["tests/vm/test_tree.py", "toolkit/README"])


def test_the_provisioning_key_follows_scripts_dependencies_and_flavour(tmp_path: Path) -> None:
    scripts = tmp_path / "vagrant" / "provision"
    scripts.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("a")
    (scripts / "all.sh").write_text("one")
    tree = Tree(repository=tmp_path)
    keys = [tree.provision_key(cgroups=""), tree.provision_key(cgroups="v1")]
    (scripts / "all.sh").write_text("two")
    keys.append(tree.provision_key(cgroups=""))
    (tmp_path / "pyproject.toml").write_text("b")
    keys.append(tree.provision_key(cgroups=""))
    assert len(set(keys)) == 4
