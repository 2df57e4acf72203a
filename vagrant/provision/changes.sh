# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Read by each script of this directory: how a change is made once and told. A script that
# finds everything as it should be says nothing, and `all.sh` counts none.

# TOOLKIT_PROVISION: "machine" (a virtual machine of our own: its settings are ours to keep),
# "box" (a tree that will be one: nothing runs in it), "here" (somebody's machine: only what
# is missing, nothing that lasts beyond packages).
mode=${TOOLKIT_PROVISION:-machine}
: "$mode"

changed() {
  printf 'changed: %s\n' "$*"
  [ -z "${TOOLKIT_CHANGES:-}" ] || printf '%s\n' "$*" >>"$TOOLKIT_CHANGES"
}

# write_file PATH: make the file say what standard input says; 1 if it does already.
write_file() {
  content=$(cat)
  if [ -f "$1" ] && [ "$(cat "$1")" = "$content" ]; then
    return 1
  fi
  mkdir -p "$(dirname "$1")"
  printf '%s\n' "$content" >"$1"
  changed "$1"
}

has_systemd() {
  [ -d /run/systemd/system ]
}
