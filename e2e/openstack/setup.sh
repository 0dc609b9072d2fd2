#!/bin/sh
# Install what the OpenStack half of the end-to-end tests needs from Debian.
#
#   e2e/openstack/setup.sh                     install what is missing (root, or sudo)
#   e2e/openstack/setup.sh --check             only say what is missing (exit 1 if anything is)
#   e2e/openstack/setup.sh [--check] nova      Nova, too, and what it cannot do without
#   e2e/openstack/setup.sh [--check] tempest   Tempest, too, with Cinder's plugin
#   e2e/openstack/setup.sh [--check] barbican  the key manager, too
#
# Running it again is cheap: when every package is there it does nothing and
# does not touch the network. No service is started and none is enabled: the
# tests start their own processes on 127.0.0.1 and end them.
set -eu

# One Cinder (API, scheduler, volume) with what it cannot do without. The test
# modules of cinder (compliance test, fakes) need testtools and ddt.
PACKAGES="
cinder-api
cinder-scheduler
cinder-volume
keystone
mariadb-server
python3-cinder
python3-ddt
python3-os-brick
python3-testtools
python3-venv
qemu-utils
rabbitmq-server
uwsgi-plugin-python3
"
# nova-compute-kvm means QEMU for x86 only; with it, emulation works as well.
NOVA_PACKAGES="
cinder-backup
genisoimage
glance-api
libvirt-daemon-system
nova-api
nova-compute
nova-compute-kvm
nova-conductor
nova-scheduler
nvme-cli
placement-api
"
TEMPEST_PACKAGES="
cinder-tempest-plugin
tempest
"
BARBICAN_PACKAGES="
barbican-api
"

check=
for argument; do
    case $argument in
    --check) check=yes ;;
    nova) PACKAGES="$PACKAGES $NOVA_PACKAGES" ;;
    tempest) PACKAGES="$PACKAGES $TEMPEST_PACKAGES" ;;
    barbican) PACKAGES="$PACKAGES $BARBICAN_PACKAGES" ;;
    *)
        echo "usage: setup.sh [--check] [nova] [tempest] [barbican]" >&2
        exit 2
        ;;
    esac
done

missing() {
    for package in $PACKAGES; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || echo "$package"
    done
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup.sh: needs Debian 12 or a relative of it (no dpkg here)" >&2
    exit 1
fi
todo=$(missing)
if [ -z "$todo" ]; then
    exit 0
fi
if [ -n "$check" ]; then
    echo "missing Debian packages:" $todo >&2
    exit 1
fi

# The policy file is what keeps Debian's maintainer scripts from starting
# services; one that exists already is respected as it is.
policy=/usr/sbin/policy-rc.d
if [ "$(id -u)" = 0 ]; then
    run=env
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    run='sudo -n env'
else
    echo "setup.sh: neither root nor sudo without a password; as root, install:" >&2
    echo "    apt-get install --no-install-recommends" $todo >&2
    exit 1
fi
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $run tee $policy >/dev/null
    $run chmod 755 $policy
    trap '$run rm -f $policy' EXIT INT TERM
fi

echo "setup.sh: installing" $todo
$run apt-get -q update
$run DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 install $todo
todo=$(missing)
if [ -n "$todo" ]; then
    echo "setup.sh: still missing:" $todo >&2
    exit 1
fi
