// Package guest boots a real Linux kernel as the host that uses our volumes: Debian's 6.12 in QEMU, emulated
// (no KVM needed), up in about two seconds, with nvme-tcp, nvme-cli, fio and mkfs.ext4. A test runs shell
// scripts in it, some in the background while it injects events outside, and reads exit codes and output.
//
//	test process                          QEMU (microvm, TCG)
//	+---------------------+   serial      +----------------------------+
//	| guest.Start         |<--------------| console: kernel's messages |
//	| g.Run, g.Go         |   TCP         |                            |
//	| control.Session     |<--------------| /bin/agent -> sh -c script |
//	|                     |   NVMe/TCP    |                            |
//	| target, 127.0.0.1:p |<--------------| nvme connect -a 10.0.2.2   |
//	+---------------------+               +----------------------------+
//
// Network is slirp: inside the guest, 10.0.2.2 (HostAddr) is the test machine's loopback, so a target that
// listens on 127.0.0.1 is reached without privileges; what it advertises in discovery must be that address.
//
// setup.sh makes kernel and initramfs once, in a cache; Start calls it. Every wait is bounded by the guest's
// patience, far above what an idle machine needs: nothing here asserts a wall-clock time. Emulated, the guest
// does 500 to 1000 4 KiB operations per second: it judges behaviour, never speed.
package guest
