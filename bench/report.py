# SPDX-License-Identifier: Apache-2.0
"""Reports: a JSON file of a measurement, with the machine that it was made on."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

_REPORT_DIR = Path(__file__).parent.parent / "report"


def machine_facts() -> dict[str, object]:
    """Return what a reader has to know of the machine."""
    return {
        "kernel": os.uname().release,
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_report(name: str, facts: dict[str, object]) -> Path:
    """Write a report and return where it is; one of the same name is replaced."""
    _REPORT_DIR.mkdir(exist_ok=True)
    path = _REPORT_DIR / f"{name}.json"
    path.write_text(json.dumps(facts, indent=2) + "\n")
    return path
