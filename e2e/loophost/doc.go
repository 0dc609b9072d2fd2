// Package loophost stands in for a host's kernel that has no NVMe/TCP: it gives this machine block devices
// for volumes. What a kernel's own host does, connections to every portal with ANA, is done by package
// initiator; the rest is a file and a loop device.
//
//	nova-compute, QEMU, dd
//	      | block device
//	/dev/loopN     kernel, direct I/O: nothing is cached between the device and the file
//	      |
//	FUSE file      File, in the agent's process
//	      |
//	initiator.Volume --NVMe/TCP--> every portal of the volume
//
// One process, the agent (command serve), holds all devices of a test. Its mounts are in a mount namespace of
// its own and its loop devices clear themselves when nobody has them open, so nothing of them is left when it
// ends, however it ends. Package openstack teaches os-brick to ask it.
//
// The agent listens on a Unix socket, for whoever may write to that:
//
//	PUT    /devices/ID          Target -> Device   attach; again: the same device
//	GET    /devices/ID                 -> Device
//	POST   /devices/ID/rescan          -> Device   with the size that the volume has now
//	DELETE /devices/ID                             detach; again: nothing
//
// Who detaches a device flushes it before, as os-brick does. The agent must not wait for its own devices: a
// process that is killed while it waits for what only itself can answer does not end.
//
// ID is the UUID of the volume's namespace. Errors are {"error": "..."}: 400 for a request that makes no
// sense, 404 for a device that is not attached, 409 for one that is in use, 502 for what the volume or the
// kernel refuses.
//
// What this does not test is a kernel's NVMe host and os-brick's handling of it: packages brick and kernel
// do. It needs root, /dev/fuse and loop devices.
package loophost
