# A day in the life of a machine, in seconds; then it goes down. Runs in it.
trap 'systemctl exit $?' EXIT
set -eux

# Whatever failed while booting would not have written what it writes.
test -z "$(systemctl --failed --plain --no-legend)"
for unit in cron rsyslog ssh systemd-resolved; do
    systemctl is-active "$unit"
done

logger "a line in the journal and in syslog"
logger -p auth.warning "a line in auth.log"
su - debian -s /bin/sh -c 'logger "from a session"'
echo note >/tmp/note
echo note >/var/tmp/note

# What timers and cron start in a day, and rotation twice, so that there are two
# generations.
for unit in apt-daily apt-daily-upgrade dpkg-db-backup logrotate man-db systemd-tmpfiles-clean; do
    systemctl start "$unit.service"
done
run-parts /etc/cron.daily
for generation in 1 2; do
    logrotate --force /etc/logrotate.conf
    logger "generation $generation"
done
journalctl --rotate
journalctl --sync

systemctl restart rsyslog ssh
