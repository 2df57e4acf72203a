# SPDX-License-Identifier: Apache-2.0
"""The HTTP edge: docker's Engine API over the engine's use cases. Decides nothing."""
