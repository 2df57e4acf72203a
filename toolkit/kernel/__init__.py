# SPDX-License-Identifier: Apache-2.0
"""Typed calls of the kernel: mounts, namespaces, cgroups, capabilities. Knows no container."""
