# SPDX-License-Identifier: Apache-2.0
"""The image that the examples share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from toolkit.testing import ContainerImage

LONGEST_SECONDS = 600  # the first run makes the image, whichever test comes first
PACKAGES = ("iproute2", "procps", "python3", "redis-server")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the first test time to make the image, where pytest-timeout watches."""
    if config.pluginmanager.has_plugin("timeout"):
        for item in items:
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS))


@pytest.fixture(scope="session")
def debian(container_image: ContainerImage) -> str:
    """A minimal Debian with Redis and Python, made once and kept by the engine."""
    return container_image.bootstrap("debian", packages=PACKAGES)
