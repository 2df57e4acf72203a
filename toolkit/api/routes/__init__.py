# SPDX-License-Identifier: Apache-2.0
"""The handlers, by what they are about, and the table of routes."""
