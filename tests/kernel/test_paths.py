# SPDX-License-Identifier: Apache-2.0
"""Paths inside an untrusted tree."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("openat2 and O_PATH are Linux's", allow_module_level=True)

from toolkit.errors import KernelCallError
from toolkit.kernel.paths import open_device_at

if TYPE_CHECKING:
    from pathlib import Path


def test_a_device_is_opened_by_name_and_nothing_else_that_has_the_name(tmp_path: Path) -> None:
    """S-22: a link that was put in the place of a container's null."""
    number = os.makedev(1, 3)
    dev_fd = os.open("/dev", os.O_PATH | os.O_DIRECTORY)
    os.close(open_device_at(dev_fd, "null", number, os.O_RDONLY))
    os.close(dev_fd)
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "file").touch()
    dir_fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    for name, expected in {"null": errno.ENODEV, "file": errno.ENODEV, "no": errno.ENOENT}.items():
        with pytest.raises(KernelCallError) as refused:
            open_device_at(dir_fd, name, number, os.O_RDONLY)
        assert refused.value.errno == expected
    os.close(dir_fd)
