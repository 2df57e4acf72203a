#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What bridges, published ports and layers need of the kernel: modules now and at each boot,
# and forwarding between interfaces. On somebody's own machine only the modules, and only
# until it is switched off: forwarding there is the engine's to ask for.
set -eu
cd "$(dirname "$0")"
. ./changes.sh

modules="overlay bridge br_netfilter veth ip_tables iptable_nat ip6table_nat nf_tables nft_compat
xt_addrtype xt_comment xt_conntrack xt_MASQUERADE xt_mark xt_nat xt_REDIRECT"

if [ "$mode" != box ] && command -v modprobe >/dev/null; then
  for module in $modules; do
    [ ! -d "/sys/module/$module" ] || continue
    # built in, or none in this kernel: `invoke doctor` says what that means
    modprobe -q "$module" || continue
    [ ! -d "/sys/module/$module" ] || changed "module $module"
  done
fi
[ "$mode" != here ] || exit 0

# shellcheck disable=SC2086 # words are meant
printf '%s\n' $modules | write_file /etc/modules-load.d/toolkit.conf || true
write_file /etc/sysctl.d/60-toolkit.conf <<'END' || true
# containers reach the outside, and are reached, through this machine
net.ipv4.ip_forward = 1
END
if [ "$mode" = machine ] && [ "$(cat /proc/sys/net/ipv4/ip_forward)" != 1 ]; then
  echo 1 >/proc/sys/net/ipv4/ip_forward
  changed "net.ipv4.ip_forward"
fi
