#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The engine as a service of systemd, with a first image made from the machine's own busybox.
set -eu
cd "$(dirname "$0")"
. ./changes.sh

[ "$mode" != here ] || exit 0
unit=toolkit-engine.service
if write_file "/etc/systemd/system/$unit" <"$unit"; then
  systemctl enable -q "$unit"
  ! has_systemd || systemctl daemon-reload
  ! has_systemd || ! systemctl is-active -q "$unit" || systemctl restart "$unit"
fi
has_systemd || exit 0

if ! systemctl is-active -q "$unit"; then
  systemctl reset-failed "$unit" 2>/dev/null || true
  systemctl start "$unit"
  changed "$unit started"
fi
socket=unix:///run/toolkit/engine.sock
if ! DOCKER_HOST=$socket toolkit inspect --type image busybox >/dev/null 2>&1; then
  DOCKER_HOST=$socket toolkit image bootstrap busybox >/dev/null
  changed "image busybox"
fi
