#!/usr/bin/env bash
# Make a stand-in for the image python:3.12-slim on a machine that reaches no registry of images: Debian's minimal system and
# this machine's own CPython, whichever version that is. For trying the images out, not for passing them on.
set -euo pipefail
name=${1:-docker.io/library/python:3.12-slim}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=ca-certificates,libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5,libreadline8,libncursesw6,libuuid1,netbase,libgomp1
debootstrap --variant=minbase --include="$packages" bookworm "$work/root" > "$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
prefix=$(python3 -c 'import sys; print(sys.base_prefix)')
python=$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
mkdir -p "$work/root/usr/local"
cp -a "$prefix/." "$work/root/usr/local/"
rm -rf "$work"/root/usr/local/lib/"$python"/{test,site-packages} "$work"/root/usr/local/lib/*.a "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
find "$work/root/usr/local" -name __pycache__ -prune -exec rm -rf {} +
mkdir -p "$work/root/usr/local/lib/$python/site-packages"
ln -sf "$python" "$work/root/usr/local/bin/python"
ln -sf "$python" "$work/root/usr/local/bin/python3"
chroot "$work/root" ldconfig
chroot "$work/root" /usr/local/bin/python -m ensurepip > /dev/null 2>&1
tar -C "$work/root" -c . | podman import --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - "$name" > /dev/null
echo "$name"
