#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every concern in its order. Run it as often as you like: the last line counts what it changed.
set -eu
cd "$(dirname "$0")"

TOOLKIT_CHANGES=$(mktemp)
export TOOLKIT_CHANGES
trap 'rm -f "$TOOLKIT_CHANGES"' EXIT

for concern in packages docker-client lxc network cgroups users toolkit engine; do
  sh "./$concern.sh"
done
echo "provisioning: $(wc -l <"$TOOLKIT_CHANGES") changes"
