# SPDX-License-Identifier: Apache-2.0
"""What both suites do alike: the program, the request, and noting a time."""

from __future__ import annotations

import http.client
import json
import os
import time
from pathlib import Path
from typing import Final

IMAGE: Final = "bench-web"
PORT: Final = 8080
SERVE: Final = ["httpd", "-f", "-p", str(PORT), "-h", "/etc"]
TESTS: Final = int(os.environ.get("BENCH_TESTS", "10"))
_REQUEST_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.002


def request(host: str, port: int) -> None:
    """Ask once; docker's proxy takes connections before the program does, and drops them."""
    deadline = time.monotonic() + _REQUEST_SECONDS
    while True:
        connection = http.client.HTTPConnection(host, port, timeout=_REQUEST_SECONDS)
        try:
            connection.request("GET", "/passwd")
            answer = connection.getresponse()
            assert answer.status == http.client.OK  # noqa: S101 - a test's own
            assert b"root" in answer.read()  # noqa: S101 - as above
        except (ConnectionError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return
        finally:
            connection.close()


def note(peer: str, number: int, seconds: float) -> None:
    """Write down how long a test took."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    path = Path(os.environ["BENCH_NOTES"]) / f"{peer}-{worker}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps({"number": number, "seconds": seconds}) + "\n")
