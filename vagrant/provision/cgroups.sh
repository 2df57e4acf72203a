#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The flavour of control groups that TOOLKIT_CGROUPS asks for (v1 or v2; empty: as it is).
# It is the kernel command line that decides, so a change needs a restart: the file
# /run/toolkit-restart-needed says so. A machine booted without a boot loader (the local box)
# gets its command line from the Vagrantfile instead.
set -eu
cd "$(dirname "$0")"
. ./changes.sh

wanted=${TOOLKIT_CGROUPS:-}
if [ "$mode" != machine ] || [ -z "$wanted" ]; then
  exit 0
fi
flavour=v1
[ ! -f /sys/fs/cgroup/cgroup.controllers ] || flavour=v2
[ "$flavour" != "$wanted" ] || exit 0

if ! command -v update-grub >/dev/null; then
  echo "control groups are $flavour; for $wanted: invoke destroy, then invoke up --cgroups $wanted" >&2
  exit 1
fi
option=systemd.unified_cgroup_hierarchy=1
if [ "$wanted" = v1 ]; then
  option="systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
fi
if write_file /etc/default/grub.d/90-toolkit.cfg <<END; then
GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX $option"
END
  update-grub
fi
touch /run/toolkit-restart-needed
