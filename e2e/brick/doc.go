// Package brick runs os-brick inside a guest (package guest), so that OpenStack's own connector attaches our
// volumes to a real Linux NVMe/TCP host. A test calls it as nova-compute does, one call at a time:
//
//	test process                            guest: the test machine's root, read-only
//	+----------------------+   TCP, JSON    +-----------------------------------------+
//	| Host.Connect, ...    |<-------------->| host.py: os-brick -> nvme-cli -> kernel |
//	| cluster (REST, 127…) |<-- NVMe/TCP ---|          privsep's daemon, as root      |
//	+----------------------+                +-----------------------------------------+
//
// One JSON object per line goes each way:
//
//	test  -> guest  {"call":"connect_volume","protocol":"nvmeof","multipath":true,"args":[{...}]}
//	guest -> test   {"result":{"type":"block","path":"/dev/nvme0n1"},"seconds":0.61}
//	guest -> test   {"error":"VolumeDeviceNotFound: ...","seconds":22.1}
//
// Releases are tried unpatched: those of PyPI, each in a virtual environment of its own that setup.sh makes,
// and Debian's. The connector of this tree is on the path of all. Python starts slowly in an
// emulated guest, so one process serves all calls of a test.
package brick
