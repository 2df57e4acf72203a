# SPDX-License-Identifier: Apache-2.0
"""What all unit tests share: none of them talks to an engine of this machine."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A busy machine is no defect: what must be quick measures its own processor time.
settings.register_profile("toolkit", deadline=None)
settings.load_profile("toolkit")

_CHOOSES_AN_ENGINE = ("DOCKER_HOST", "TOOLKIT_HOST", "TOOLKIT_INSTANCE", "TOOLKIT_BACKEND")


@pytest.fixture(autouse=True)
def _no_engine_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this shell says about engines."""
    for name in _CHOOSES_AN_ENGINE:
        monkeypatch.delenv(name, raising=False)
