#!/bin/bash
# Make what a guest needs: Debian packages, a kernel that is unpacked but never installed, a base initramfs.
#
#   e2e/guest/setup.sh [cloud|full]   prepare one flavour (default cloud) and print its directory
#   e2e/guest/setup.sh --check        only say which packages are missing (exit 1 if any is)
#
#   cloud  the small kernel; the guest lives in its initramfs: busybox, nvme-cli, fio, mkfs.ext4
#   full   Debian's ordinary kernel, which has 9p: the guest sees the host's root, read-only under a tmpfs
#
# The directory, below ${XDG_CACHE_HOME:-$HOME/.cache}/ashlar/guest, holds `vmlinux`, `base.cpio`, `tools.img`
# (fio alone brings 80 MB of libraries: a disk is read as needed, an initramfs is unpacked at every boot) and
# `modules` (the kernel's whole tree). Its name is made of the kernel's version, those of the packages copied
# and the text of this script and of init, so a change of any makes a new one. Running again costs
# milliseconds and touches no network.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
PACKAGES="binutils busybox-static cpio e2fsprogs fio kmod nvme-cli qemu-system-x86 tshark xz-utils zstd"
COPIED="busybox-static e2fsprogs fio nvme-cli"
TOOLS="/usr/bin/fio /usr/sbin/mkfs.ext4 /usr/sbin/e2fsck /usr/sbin/resize2fs"

# The order in which the guest loads modules; dependencies come by themselves.
MODULES_cloud="virtio_mmio virtio_net virtio_blk crc32c_generic crc32c_intel nvme_tcp nvmet nvmet_tcp brd ext4"
MODULES_full="$MODULES_cloud overlay 9pnet_virtio 9p loop xfs nvme_loop null_blk
    dh_generic hmac sha256_generic sha512_generic"

say() { echo "setup.sh: $*" >&2; }

missing() {
    local package state
    for package in $PACKAGES; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || echo "$package"
    done
}

install_packages() {
    local todo run
    todo=$(missing)
    [ -n "$todo" ] || return 0
    if [ "$(id -u)" = 0 ]; then
        run=env
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        run='sudo -n env'
    else
        say "neither root nor sudo without a password; as root, install:"
        say "    apt-get install --no-install-recommends" $todo
        exit 1
    fi
    say "installing" $todo
    $run apt-get -q update >&2
    $run DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 install $todo >&2
    todo=$(missing)
    [ -z "$todo" ] || { say "still missing:" $todo; exit 1; }
}

# The name of the kernel package that the flavour's metapackage stands for.
kernel_package() {
    local meta=$1
    apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-6\.12\..*\)/\1/p' | head -1
}

# Find the compressed kernel inside a bzImage and unpack it. A boot without decompressor saves ten seconds
# of emulation, and Debian's kernels carry the PVH entry point that lets QEMU start the ELF file itself.
extract_vmlinux() {
    local image=$1 out=$2 magic command at
    for magic in '\x28\xb5\x2f\xfd=zstd -dcq' '\xfd7zXZ\x00=xz -dcq --single-stream' '\x02!L\x18=lz4 -dcq'; do
        command=${magic#*=}
        for at in $(LC_ALL=C grep -abo -P "${magic%%=*}" "$image" | cut -d: -f1); do
            [ "$at" -gt 8192 ] || continue
            tail -c +$((at + 1)) "$image" | $command >"$out" 2>/dev/null || true
            if [ "$(head -c 4 "$out" | tail -c 3)" = ELF ]; then return 0; fi
        done
    done
    say "no kernel found inside $image"
    exit 1
}

# The shared libraries that a program needs, the loader included.
libraries() { ldd "$1" | awk '/=> \//{print $3} /^[[:space:]]*\/lib64/{print $1}'; }

# Copy a program and its libraries to where they are on the host.
copy_program() {
    local root=$1 program=$2 lib
    cp "$program" "$root/bin/"
    libraries "$program" | while read -r lib; do
        mkdir -p "$root$(dirname "$lib")"
        cp -Ln "$lib" "$root$lib"
    done
}

# Make the read-only disk that the guest mounts on /tools; init puts a wrapper for each program into /bin.
make_tools() {
    local root=$1 out=$2 program lib
    mkdir -p "$root/bin" "$root/lib"
    for program in $TOOLS; do
        cp "$(readlink -f "$program")" "$root/bin/$(basename "$program")"
        libraries "$program" | while read -r lib; do cp -Ln "$lib" "$root/lib/"; done
    done
    truncate -s $(($(du -sm "$root" | cut -f1) + 8))M "$out"
    mkfs.ext4 -q -O ^has_journal -m 0 -d "$root" "$out"
}

# Copy modules flat, unpacked, without debug sections, with the order to load them in. A name that
# modprobe knows as built in gives no file, which is what we want.
copy_modules() {
    local root=$1 tree=$2 version=$3 modules=$4 to=$1/lib/m name file flat
    mkdir -p "$to"
    : >"$to/order"
    for name in $modules; do
        if ! modprobe -d "$tree" -S "$version" -a --show-depends "$name" >"$tree/depends" 2>/dev/null; then
            # Absent and built in look alike here; modules.builtin tells them apart.
            grep -q "/${name//_/[-_]}\.ko" "$tree/lib/modules/$version/modules.builtin" \
                || { say "kernel $version has no module $name"; exit 1; }
            continue
        fi
        awk '$1 == "insmod" {print $2}' "$tree/depends" | while read -r file; do
            flat=$(basename "${file%.xz}")
            case $file in
            *.xz) [ -f "$to/$flat" ] || xz -dc "$file" >"$to/$flat" ;;
            *) cp -n "$file" "$to/$flat" ;;
            esac
            grep -qx "$flat" "$to/order" || echo "$flat" >>"$to/order"
        done
    done
    strip --strip-debug "$to"/*.ko
}

make_initramfs() {
    local root=$1 tree=$2 version=$3 modules=$4 out=$5 name
    mkdir -p "$root"/{bin,sbin,usr,dev,proc,sys,tmp,run,etc/nvme,root,lib64,mnt,newroot,var/run}
    ln -s ../lib "$root/usr/lib"
    ln -s ../lib64 "$root/usr/lib64"
    ln -s ../bin "$root/usr/bin"
    cp /usr/bin/busybox "$root/bin/busybox"
    for name in $(/usr/bin/busybox --list); do
        [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"
    done
    mkdir -p "$root/lib"
    copy_program "$root" /usr/sbin/nvme
    copy_modules "$root" "$tree" "$version" "$modules"
    cp "$here/init" "$root/init"
    chmod 755 "$root/init"
    ln -s /proc/mounts "$root/etc/mtab"
    echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet) >"$out"
}

build() {
    local dir=$1 package=$2 version=$3 modules=$4
    work=$(mktemp -d "$(dirname "$dir")/work.XXXX")
    trap 'rm -rf "$work"' EXIT
    say "building $(basename "$dir")"
    (cd "$work" && apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package" >&2)
    mkdir -p "$work/tree" "$work/root" "$work/new"
    dpkg-deb -x "$work"/*.deb "$work/tree"
    depmod -b "$work/tree" "$version"
    extract_vmlinux "$work/tree/boot/vmlinuz-$version" "$work/new/vmlinux"
    make_initramfs "$work/root" "$work/tree" "$version" "$modules" "$work/new/base.cpio"
    make_tools "$work/tools" "$work/new/tools.img"
    mv "$work/tree/lib/modules/$version" "$work/new/modules"
    mv "$work/new" "$dir"
}

if [ "$(uname -m)" != x86_64 ] || ! command -v dpkg-query >/dev/null; then
    say "needs Debian 12 or a relative of it on x86-64"
    exit 1
fi
if [ "${1:-}" = --check ]; then
    todo=$(missing)
    [ -z "$todo" ] || { say "missing Debian packages:" $todo; exit 1; }
    exit 0
fi
flavour=${1:-cloud}
case $flavour in
cloud) meta=linux-image-6.12-cloud-amd64 modules=$MODULES_cloud ;;
full) meta=linux-image-6.12-amd64 modules=$MODULES_full ;;
*) say "no flavour $flavour: cloud or full"; exit 1 ;;
esac
install_packages
package=$(kernel_package "$meta")
[ -n "$package" ] || { say "apt knows no $meta: bookworm-security has it, try apt-get update"; exit 1; }
key=$({ dpkg-query -W -f '${Package} ${Version}\n' $COPIED; cat "$here/setup.sh" "$here/init"; } \
    | sha256sum | cut -c1-12)
version=${package#linux-image-}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ashlar/guest
mkdir -p "$cache"
exec 9>"$cache/lock" # two test processes may want the same flavour at once
flock 9
[ -d "$cache/$version-$key" ] || build "$cache/$version-$key" "$package" "$version" "$modules"
echo "$cache/$version-$key"
