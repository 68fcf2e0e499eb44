#!/bin/sh
# debian-packages.sh COMMAND=PACKAGE ...: sees to it that each command is there.  Missing packages are installed when
# this runs as root on a system with apt-get; else the one command to type is printed, and the exit status is 1.
set -eu
missing=
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } >/dev/null && exit 0
    echo "could not install:$missing" >&2
    exit 1
fi
echo "needed and not found; type:  sudo apt-get install$missing" >&2
exit 1
