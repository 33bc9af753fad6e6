#!/bin/sh
# Install what tests need and pip cannot bring: test-tools.sh BIN TOOL...
# Debian, root.  promtool goes to BIN without its package, which would start a server.
set -u
bin=$1
shift

packages=""
promtool=""
for tool in "$@"; do
	case $tool in
	promtool) promtool=yes ;;
	systemd-analyze) packages="$packages systemd" ;;
	*) packages="$packages $tool" ;;
	esac
done

echo "openbell: installing $*"
apt-get -qq update
if [ -n "$packages" ]; then
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages ||
		echo "openbell: could not install$packages"
fi
if [ -n "$promtool" ]; then
	place=$(mktemp -d)
	chmod 755 "$place"
	(cd "$place" && apt-get -qq download prometheus && dpkg-deb --extract prometheus_*.deb .) &&
		cp "$place/usr/bin/promtool" "$bin/promtool" || echo "openbell: could not fetch promtool"
	rm -rf "$place"
fi
