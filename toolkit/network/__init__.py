# SPDX-License-Identifier: Apache-2.0
"""How a container is reached: bridges, addresses, rules, ports, proxies and names.

Synchronous, and knows no container beyond an id. The engine calls it in a
thread, decides what is wanted and keeps it in its store.
"""
