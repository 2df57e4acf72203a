# SPDX-License-Identifier: Apache-2.0
"""Building images from Dockerfiles."""
