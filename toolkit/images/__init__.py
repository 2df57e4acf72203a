# SPDX-License-Identifier: Apache-2.0
"""Images: how they are called, what they are, and where they are kept."""
