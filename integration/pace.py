# SPDX-License-Identifier: Apache-2.0
"""How much slower this machine is than those for which the tests' bounds were chosen.

Said by ``TOOLKIT_TIMEOUT_FACTOR``, as for the plugin's own waits; `invoke test --machine`
says it where the processor is emulated.
"""

from __future__ import annotations

import os
from typing import Final

SLOWNESS: Final = float(os.environ.get("TOOLKIT_TIMEOUT_FACTOR") or 1)
