# SPDX-License-Identifier: Apache-2.0
"""The command line: docker's verbs, flags, columns and exit codes, on `toolkit.client`."""
