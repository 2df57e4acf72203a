# SPDX-License-Identifier: Apache-2.0
"""Containers in tests: the pytest plugin."""
