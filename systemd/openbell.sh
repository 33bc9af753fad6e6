#!/bin/sh
# openbell as the service runs it: its user, its state, its keys.  Installed as
# /usr/local/bin/openbell by `openbell init --systemd`; needs root, like systemctl.
set -eu
if [ "$(id -u)" != 0 ]; then
    exec sudo "$0" "$@"
fi
# Live mode also asks for the confirmation in the service's drop-in.
live=$(systemctl show -P Environment openbell | tr ' ' '\n' | sed -n 's/^OPENBELL_LIVE=//p' | tail -n 1)
cd /var/lib/openbell 2>/dev/null || cd /
exec runuser -u openbell -- env \
    CREDENTIALS_DIRECTORY=/etc/openbell/credentials \
    OPENBELL__STATE__DIRECTORY=/var/lib/openbell \
    ${live:+"OPENBELL_LIVE=$live"} \
    /opt/openbell/.venv/bin/openbell --config /etc/openbell/config.toml "$@"
