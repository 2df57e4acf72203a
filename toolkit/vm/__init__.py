# SPDX-License-Identifier: Apache-2.0
"""Where the engine runs: this machine now, a Vagrant machine later.

`tasks.py` is the thin face of this package. Nothing here imports what stands
below the process boundary: the engine is a process, reached by its socket.
"""
