#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make a tree of Debian a machine for Vagrant: mmdebstrap calls this with the tree.
#   TOOLKIT_SOURCE   the checkout whose toolkit's dependencies go in
#   TOOLKIT_WHEELS   directory of wheels: nothing is fetched from here on
#   TOOLKIT_KEY      public key that `vagrant` may log in with the first time
set -eu
root=$1

# a small initramfs: a virtual disk and ext4 is all that it has to find
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$root/etc/initramfs-tools/conf.d/toolkit"
printf '%s\n' virtio_pci virtio_blk virtio_net ext4 >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u -k all

chroot "$root" useradd --create-home --shell /bin/bash vagrant
printf 'vagrant ALL=(ALL) NOPASSWD:ALL\n' >"$root/etc/sudoers.d/vagrant"
chmod 440 "$root/etc/sudoers.d/vagrant"
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$TOOLKIT_KEY" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant:vagrant /home/vagrant/.ssh

echo toolkit >"$root/etc/hostname"
printf '127.0.0.1 localhost toolkit\n::1 localhost\n' >"$root/etc/hosts"
printf '/dev/vda / ext4 defaults,noatime 0 1\n' >"$root/etc/fstab"

cat >"$root/etc/systemd/network/50-dhcp.network" <<'END'
[Match]
Name=en* eth0

[Network]
DHCP=ipv4
IPv6AcceptRA=no

[DHCPv4]
ClientIdentifier=mac
END
cat >"$root/etc/ssh/sshd_config.d/toolkit.conf" <<'END'
UseDNS no
GSSAPIAuthentication no
PasswordAuthentication no
MaxSessions 64
END
# each machine makes its own keys, once
rm -f "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/systemd/system/ssh-keys.service" <<'END'
[Unit]
Description=Host keys of this machine
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key

[Install]
WantedBy=multi-user.target
END
printf 'HostKey /etc/ssh/ssh_host_ed25519_key\n' >>"$root/etc/ssh/sshd_config.d/toolkit.conf"
chroot "$root" systemctl enable -q systemd-networkd systemd-resolved ssh ssh-keys
chroot "$root" systemctl mask -q apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-networkd-wait-online.service

# what `invoke up` does in any machine, as far as a tree can have it
mkdir "$root/toolkit" "$root/tmp/brought"
cp -R "$TOOLKIT_SOURCE/pyproject.toml" "$TOOLKIT_SOURCE/README.md" "$TOOLKIT_SOURCE/LICENSE" \
  "$TOOLKIT_SOURCE/toolkit" "$TOOLKIT_SOURCE/vagrant" "$root/toolkit/"
cp "$TOOLKIT_WHEELS"/*.whl "$root/tmp/brought/"
# inside no name can be looked up: /etc/resolv.conf waits for systemd-resolved to run
(cd "$root/tmp/brought" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get download -q docker.io)
chroot "$root" env TOOLKIT_PROVISION=box TOOLKIT_PACKAGES=/tmp/brought PIP_NO_INDEX=1 PIP_FIND_LINKS=/tmp/brought PIP_CONFIG_FILE=/dev/null \
  PYTHONDONTWRITEBYTECODE=1 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  sh /toolkit/vagrant/provision/all.sh
rm -rf "$root/toolkit" "$root/tmp/brought" "$root/root/.cache"
install -d "$root/toolkit"
chroot "$root" chown vagrant:vagrant /toolkit

: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/var/log/apt/"* "$root/var/log/dpkg.log" \
  "$root/var/log/alternatives.log" "$root/var/log/bootstrap.log"
