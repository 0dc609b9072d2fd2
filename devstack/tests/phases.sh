#!/bin/bash
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#    http://www.apache.org/licenses/LICENSE-2.0
#
# phases.sh: run every phase of the plugin once, in DevStack's order.
#
#   WORK=directory [DEVSTACK_DIR=checkout] tests/phases.sh
#
# Leaves cinder.conf, nova.conf, tempest.conf and the calls in $WORK.

set -o errexit

PLUGIN=$(cd "$(dirname "$0")/.." && pwd)
CALLS=$WORK/calls
DATA_DIR=$WORK/data
DEST=$WORK/dest
STACK_USER=$(id -un)
ENABLED_SERVICES=${ENABLED_SERVICES:-c-api,c-vol,c-sch,n-cpu,tempest}
ASHLAR_BIN_DIR=$WORK/bin
ASHLAR_CONF_DIR=$WORK/etc
export HOST_IP=127.0.0.1 SERVICE_HOST=127.0.0.1
mkdir -p $DATA_DIR $DEST $ASHLAR_BIN_DIR
touch $CALLS

# A command line that says yes, and that there is no pool yet.
cat > $ASHLAR_BIN_DIR/ashlar <<EOF
#!/bin/bash
echo "ashlar \$*" >> $CALLS
case "\$*" in
    *"pool show"*) exit 1 ;;
    *"token create"*) echo '{"secret": "secret-of-cinder"}' ;;
esac
EOF
printf '#!/bin/bash\n' > $ASHLAR_BIN_DIR/ashlard
chmod +x $ASHLAR_BIN_DIR/*

if [[ -n "${DEVSTACK_DIR:-}" ]]; then
    REAL=1
    cp -r $DEVSTACK_DIR $WORK/devstack
    rm -f $WORK/devstack/extras.d/*.sh
    export TOP_DIR=$WORK/devstack RC_DIR=$WORK/devstack FILES=$WORK/devstack/files LOGDIR=$WORK
    export DEST DATA_DIR STACK_USER ENABLED_SERVICES
    source $TOP_DIR/functions
    declare -A GITREPO GITBRANCH GITDIR
    DEVSTACK_PLUGINS=ashlar
    ln -s "$(dirname "$PLUGIN")" $DEST/ashlar
    GITDIR[ashlar]=$DEST/ashlar
fi
source $PLUGIN/tests/stand-in.sh

run_phase override_defaults
if [[ -n "${DEVSTACK_DIR:-}" ]]; then
    set +o errexit
    source $TOP_DIR/lib/cinder
    set -o errexit
fi
CINDER_CONF=$WORK/cinder.conf
NOVA_CONF=$WORK/nova.conf
TEMPEST_CONFIG=$WORK/tempest.conf
touch $CINDER_CONF $NOVA_CONF $TEMPEST_CONFIG

run_phase source
run_phase stack pre-install
run_phase stack install
# As configure_cinder of lib/cinder does.
for be in ${CINDER_ENABLED_BACKENDS//,/ }; do
    if type configure_cinder_backend_${be%%:*} >/dev/null 2>&1; then
        configure_cinder_backend_${be%%:*} ${be##*:}
    fi
done
names=$(echo $CINDER_ENABLED_BACKENDS | sed "s/[a-z]*://g")
iniset $CINDER_CONF DEFAULT enabled_backends $names
run_phase stack post-config
run_phase stack extra
run_phase stack test-config
cp $ASHLAR_CONF_DIR/ashlard.yaml $WORK/ashlard.yaml 2>/dev/null || true
run_phase unstack
run_phase clean
