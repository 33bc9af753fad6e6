#!/bin/sh
# openbell as the service runs it: its user, its state, its keys, and what a drop-in of the
# service says.  Installed as /usr/local/bin/openbell by `openbell init --systemd`; needs root,
# like systemctl.
set -eu
if [ "$(id -u)" != 0 ]; then
    exec sudo "$0" "$@"
fi
set -- /opt/openbell/.venv/bin/openbell --config /etc/openbell/config.toml "$@"
# Live mode's confirmation, and keys of the configuration: a kill must find the same broker.
ours() {
    # systemd quotes for a shell what has blanks, quotes or brackets in it.
    eval "set -- $1"
    for setting; do
        case $setting in OPENBELL_*) printf '%s\n' "$setting" ;; esac
    done
}
set -f
IFS='
'
for setting in $(ours "$(systemctl show -P Environment openbell)"); do
    set -- "$setting" "$@"
done
cd /var/lib/openbell 2>/dev/null || cd /
exec runuser -u openbell -- env \
    CREDENTIALS_DIRECTORY=/etc/openbell/credentials \
    OPENBELL__STATE__DIRECTORY=/var/lib/openbell \
    "$@"
