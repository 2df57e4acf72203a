#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docker's own command, a client only: the tests drive the engine with it where it is there.
# Its package brings a daemon too, which nobody here wants started, so the one program is
# taken out of it. Where the archive cannot be reached, those tests are skipped.
set -eu
cd "$(dirname "$0")"
. ./changes.sh

[ "$mode" != here ] || exit 0
! command -v docker >/dev/null || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for package in docker-cli docker.io; do
  apt-get download -q "$package" >/dev/null 2>&1 || continue
  dpkg-deb -x "$package"_*.deb tree
  if [ -x tree/usr/bin/docker ]; then
    install tree/usr/bin/docker /usr/local/bin/docker
    changed "/usr/local/bin/docker"
    exit 0
  fi
done
echo "docker's command is not to be had; its tests will be skipped"
