#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An infrastructure role: a Redis for the shop, with its own user, configuration and data.
set -eu
groupadd --system shop
useradd --system --gid shop --home-dir /srv/shop --shell /usr/sbin/nologin shop
install -d -o shop -g shop -m 0750 /srv/shop
umask 077
cat > /etc/shop.conf <<'CONF'
bind 127.0.0.1
port 6380
dir /srv/shop
save 60 1
maxmemory 32mb
CONF
chown root:shop /etc/shop.conf
chmod 0640 /etc/shop.conf
