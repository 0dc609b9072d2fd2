#!/bin/sh
# nt: the kernel's own NVMe target through configfs, one line per call.
#   nt subsys NQN DEV            nt port ID IP PORT           nt link PORT NQN      nt unlink PORT NQN
#   nt ana PORT GROUP STATE      (optimized, non-optimized, inaccessible, change)
set -e
C=/sys/kernel/config/nvmet
case $1 in
subsys)
    s=$C/subsystems/$2
    mkdir -p "$s/namespaces/1"
    echo 1 >"$s/attr_allow_any_host"
    echo -n "$3" >"$s/namespaces/1/device_path"
    echo 1 >"$s/namespaces/1/enable"
    ;;
port)
    p=$C/ports/$2
    mkdir -p "$p"
    echo tcp >"$p/addr_trtype"
    echo ipv4 >"$p/addr_adrfam"
    echo "$3" >"$p/addr_traddr"
    echo "$4" >"$p/addr_trsvcid"
    ;;
link) ln -s "$C/subsystems/$3" "$C/ports/$2/subsystems/" ;;
unlink) rm "$C/ports/$2/subsystems/$3" ;;
ana) echo "$4" >"$C/ports/$2/ana_groups/$3/ana_state" ;;
esac
