# First process of namespaces for mounts and processes: all that libvirt knows and starts is here, and ends
# with this shell.
set -e
mount --bind {{.State}}/libvirt/etc /etc/libvirt
cp {{.State}}/libvirtd.conf {{.State}}/qemu.conf /etc/libvirt/
for name in run lib cache log; do
    case $name in
    run) to=/run/libvirt ;;
    *) to=/var/$name/libvirt ;;
    esac
    mkdir -p $to
    mount --bind {{.State}}/libvirt/$name $to
done
/usr/sbin/libvirtd --pid-file /run/libvirt/libvirtd.pid -f /etc/libvirt/libvirtd.conf
