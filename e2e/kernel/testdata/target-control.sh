#!/bin/sh
# What blktests asks about a remote target (its NVME_TARGET_CONTROL hook), answered from the environment. The
# target is there already: set up, add-ports and cleanup have nothing to do.
if [ "$1" = config ]; then
    case $2 in
    --show-blkdev-type) echo device ;;
    --show-trtype) echo tcp ;;
    --show-hostnqn) cat /etc/nvme/hostnqn ;;
    --show-hostid) cat /etc/nvme/hostid ;;
    --show-host-traddr) echo ;;
    --show-traddr) echo "$TARGET_ADDR" ;;
    --show-trsvid) echo "$TARGET_PORT" ;;
    --show-subsys-uuid) echo "$TARGET_UUID" ;;
    --show-subsysnqn) echo "$TARGET_NQN" ;;
    esac
fi
