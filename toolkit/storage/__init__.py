# SPDX-License-Identifier: Apache-2.0
"""What a container stands on: archives in and out, layers, and their drivers."""
