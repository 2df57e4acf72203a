# SPDX-License-Identifier: Apache-2.0
"""Dockerfile lines that only set an image's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.build.changes import config_of_changes
from toolkit.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("lines", "config"),
    [
        ([], {}),
        (['CMD ["a", "b"]'], {"Cmd": ["a", "b"]}),
        (["cmd echo hi"], {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        (['ENTRYPOINT ["a"]'], {"Entrypoint": ["a"]}),
        (["ENV A=1 B='x y'", "ENV A=2"], {"Env": ["A=2", "B=x y"]}),
        (["ENV A some words"], {"Env": ["A=some words"]}),
        (['LABEL k=v "k 2"=w'], {"Labels": {"k": "v", "k 2": "w"}}),
        (["EXPOSE 80 53/udp"], {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        (['VOLUME ["/a"]', "VOLUME /b"], {"Volumes": {"/a": {}, "/b": {}}}),
        (["USER 1", "WORKDIR /w", "STOPSIGNAL 9", "ONBUILD RUN x"],
         {"User": "1", "WorkingDir": "/w", "StopSignal": "9", "OnBuild": ["RUN x"]}),
    ],
)  # fmt: skip
def test_lines_set_the_configuration(lines: list[str], config: dict[str, Any]) -> None:
    assert config_of_changes(lines) == config


@pytest.mark.parametrize("line", ["RUN x", "", "CMD", "ENV A=1 B", "ENV 'x", "EXPOSE x"])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(InvalidRequestError):
        config_of_changes([line])
