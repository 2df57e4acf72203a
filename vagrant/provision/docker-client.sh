#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docker's own command, a client only: the tests drive the engine with it where it is there.
# Its package brings a daemon too, which nobody here wants started, so the one program is
# taken out of it. Where the archive cannot be reached, those tests are skipped.
#   TOOLKIT_PACKAGES   directory in which the package lies already; nothing is fetched
set -eu
cd "$(dirname "$0")"
. ./changes.sh

[ "$mode" != here ] || exit 0
! command -v docker >/dev/null || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# the command is in docker-cli where the archive has that, else in docker.io (Debian 12, Ubuntu)
has_command() {
  for package in "${TOOLKIT_PACKAGES:-.}"/docker*.deb; do
    [ -f "$package" ] || continue
    dpkg-deb -x "$package" tree
    [ ! -x tree/usr/bin/docker ] || return 0
  done
  return 1
}

fetch() {
  for name in docker-cli docker.io; do
    apt-get download -q "$name" >apt.log 2>&1 || continue
    ! has_command || return 0
  done
  return 1
}

# a box comes without the archive's lists, or with old ones
update_and_fetch() {
  apt-get update -q >apt.log 2>&1 && fetch
}

if [ -n "${TOOLKIT_PACKAGES:-}" ]; then
  has_command
elif ! fetch && ! update_and_fetch; then
  echo "docker's command is not to be had; its tests will be skipped:"
  tail -n 3 apt.log
  exit 0
fi
install tree/usr/bin/docker /usr/local/bin/docker
changed "/usr/local/bin/docker"
