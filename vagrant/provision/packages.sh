#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The system packages of a machine that runs containers: the ones that `invoke up` installs,
# and what it takes to run `invoke up` itself.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends \
  python3-venv \
  busybox-static iproute2 iptables libseccomp2 lxc
