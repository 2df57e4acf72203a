# SPDX-License-Identifier: Apache-2.0
"""The backend that needs nothing but the kernel: an OCI document becomes a process.

What a start needs is opened on the host's side (`prepare`), the rest is done in
the child between clone3 and execve (`rootfs`, `program`). From the root switch
on nothing is imported, looked up or opened but by descriptors taken before.
"""
