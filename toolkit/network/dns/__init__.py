# SPDX-License-Identifier: Apache-2.0
"""The name server at 127.0.0.11 of containers on user networks: a process that outlives the engine.

The engine's side is `toolkit.network.names_server`.
"""
