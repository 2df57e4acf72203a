# SPDX-License-Identifier: Apache-2.0
"""The backend that lets LXC make the container and our own first step make the program.

The document becomes an LXC configuration (`template`, through the one writer of
`config_writer`). `lxc-start` runs it in a mount namespace of its own (`stage`);
its init is a program of system calls (`first_step`) that waits, while what LXC
mounted is checked and finished (`dress`), and then becomes the container's
program, a child of the shim (`container`).
"""
