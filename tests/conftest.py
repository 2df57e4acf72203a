# SPDX-License-Identifier: Apache-2.0
"""What all unit tests share: none of them talks to an engine of this machine."""

from __future__ import annotations

import gc

import pytest
from hypothesis import settings

gc.disable()  # until all tests are read: a second of each worker goes into collecting nothing

# A busy machine is no defect: what must be quick measures its own processor time.
settings.register_profile("toolkit", deadline=None)
settings.load_profile("toolkit")

_CHOOSES_AN_ENGINE = ("DOCKER_HOST", "TOOLKIT_HOST", "TOOLKIT_INSTANCE", "TOOLKIT_BACKEND")


def pytest_configure(config: pytest.Config) -> None:
    """Keep pytest from rewriting the toolkit, a second of each worker: only tests have asserts.

    It rewrites whatever package brings a plugin, and has no public way to say no.
    """
    marked: set[str] = getattr(config.pluginmanager.rewrite_hook, "_must_rewrite", set())
    marked.discard("toolkit")


def pytest_collection_finish() -> None:
    """Collect garbage again, but never look at what lives as long as the run."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_engine_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this shell says about engines."""
    for name in _CHOOSES_AN_ENGINE:
        monkeypatch.delenv(name, raising=False)
