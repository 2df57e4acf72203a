# SPDX-License-Identifier: Apache-2.0
"""Registries of the distribution API, version 2: pull, push, log in; to be run in threads."""
