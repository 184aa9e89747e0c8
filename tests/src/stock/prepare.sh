# Makes a root that mmdebstrap has made into an image to be copied: nothing in it
# belongs to one instance. $1 is the root.
set -eu
root=$1

# Made at the first boot.
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_*

# Baked, so that their modes are held while their values change.
echo localhost >"$root/etc/hostname"
chmod 0644 "$root/etc/hostname"
mkdir -p "$root/root/.ssh"
chmod 0700 "$root/root/.ssh"
# What cloud-init would set.
chmod 0750 "$root/etc/sudoers.d"

# The bootstrapping machine's own, which systemd-resolved has put aside.
rm -f "$root/etc/.resolv.conf.systemd-resolved.bak"

# Debian 12's netplan.io comes without its compiled Python, and leaves that beneath
# /usr when it first runs.
chroot "$root" python3 -m compileall -q /usr/share/netplan

chroot "$root" systemctl --quiet enable systemd-networkd.service

# The manifest's place is reserved, the folder that holds it is baked.
mkdir "$root/etc/congruent"
