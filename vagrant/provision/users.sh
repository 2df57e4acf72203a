#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may open the engine's socket: the group `toolkit`, and in it the user that Vagrant logs
# in as. On a machine of our own that is no more than they may do with sudo anyway; on
# somebody's own machine it would be, so nobody is added there.
set -eu
cd "$(dirname "$0")"
. ./changes.sh

[ "$mode" != here ] || exit 0
if ! getent group toolkit >/dev/null; then
  groupadd --system toolkit
  changed "group toolkit"
fi
for user in ${TOOLKIT_USERS:-vagrant}; do
  if id "$user" >/dev/null 2>&1 && ! id -nG "$user" | grep -qw toolkit; then
    usermod --append --groups toolkit "$user"
    changed "user $user is in group toolkit"
  fi
done
