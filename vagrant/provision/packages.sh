#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# System packages: those named as arguments, or else all of packages.list and, on a machine of
# our own, what the integration tests use too. What is there already is left alone.
set -eu
cd "$(dirname "$0")"
. ./changes.sh
export DEBIAN_FRONTEND=noninteractive

if [ "$#" -eq 0 ]; then
  lists=packages.list
  [ "$mode" = here ] || lists="$lists test-packages.list"
  # shellcheck disable=SC2046,SC2086 # words are meant
  set -- $(cat $lists)
fi

present=" $(dpkg-query -W -f '${db:Status-Status} ${Package} ' "$@" 2>/dev/null || true) "
missing=
for package in "$@"; do
  case $present in
  *" installed $package "*) ;;
  *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

apt-get update -q
# shellcheck disable=SC2086 # words are meant
apt-get install -y -q --no-install-recommends $missing
changed "packages:$missing"
