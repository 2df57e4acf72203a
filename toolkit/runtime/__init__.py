# SPDX-License-Identifier: Apache-2.0
"""How a container runs: launch document, launcher, shims, backends, streams and log files."""
