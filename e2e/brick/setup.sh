#!/bin/bash
# Make the virtual environment with a release of os-brick that guests use, and print its directory.
#
#   e2e/brick/setup.sh RELEASE
#
# It lies below ${XDG_CACHE_HOME:-$HOME/.cache}/ashlar/brick and is named after the release. Debian's own
# os-brick comes from e2e/openstack/setup.sh. Running again does nothing and touches no network.
set -euo pipefail

release=${1:?usage: setup.sh RELEASE}
python=/usr/bin/python3 # Debian's: a guest sees it at the same place
dir=${XDG_CACHE_HOME:-$HOME/.cache}/ashlar/brick/os-brick-$release
mkdir -p "$(dirname "$dir")"
exec 9>"$(dirname "$dir")/lock" # two test processes may want it at once
flock 9
if [ ! -e "$dir/ready" ]; then
    rm -rf "$dir"
    "$python" -m venv "$dir" >&2
    case $release in
    6.*) era='oslo.utils<8' ;; # these import what later ones no longer have
    *) era= ;;
    esac
    "$dir/bin/python" -m pip install -q --disable-pip-version-check "os-brick==$release" $era >&2
    touch "$dir/ready"
fi
echo "$dir"
