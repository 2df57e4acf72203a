# SPDX-License-Identifier: Apache-2.0
"""A container runtime in Python, packaged as a toolkit that people test with."""

__version__ = "0.1.0"
