#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# LXC as a library of programs for the lxc backend: its own bridge and its start at boot are
# left off, since the engine makes its bridge and starts its containers itself.
set -eu
cd "$(dirname "$0")"
. ./changes.sh

[ "$mode" != here ] || exit 0
for unit in lxc.service lxc-net.service lxc-monitord.service; do
  if [ -L "/etc/systemd/system/multi-user.target.wants/$unit" ]; then
    systemctl disable -q "$unit"
    changed "$unit does not start by itself"
  fi
  if has_systemd && systemctl is-active -q "$unit"; then
    systemctl stop "$unit"
    changed "$unit stopped"
  fi
done
