# SPDX-License-Identifier: Apache-2.0
"""What a container is, and every operation on it; no HTTP, no system calls."""
