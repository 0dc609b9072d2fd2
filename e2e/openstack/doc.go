// Package openstack runs a real Cinder for end-to-end tests: MariaDB, RabbitMQ, Keystone and Cinder's API,
// scheduler and volume services, all Debian's own, with the Ashlar driver from this tree, against a cluster
// that the test started. Tests speak to it with gophercloud, and attach volumes the way Nova does.
//
//	test --gophercloud--> keystone (uwsgi)      cinder-volume --driver, REST--> the test's cluster
//	     \---------------> cinder-api --rabbit--> cinder-scheduler, cinder-volume
//	                        \--------- all of them: mariadb ---------/
//
// Everything listens on free ports of 127.0.0.1. Databases and other state are on tmpfs and go away with
// Stop; logs stay in .build/e2e/openstack/<test>, and the ends of them are printed when the test fails.
// Processes are ended by the pids of their own sessions, and die with the test process even when that one is
// killed; what it left on tmpfs then is removed by the next Start.
//
// StartNova adds Nova with libvirt, Glance and Placement, and servers whose guests are a kernel and a shell
// (guest-init). Volumes reach them as block devices of this machine by package loophost, which stands in for
// a kernel's NVMe/TCP: with_loophost.py puts a connector into os-brick of the services that attach, and that
// is all that differs from what Debian ships. There is no Neutron; what answers in its place has no networks.
//
//	nova-api --rabbit--> nova-scheduler, nova-compute --> libvirtd --> QEMU, emulated
//	                                          | os-brick: nvmeof          | /dev/loopN
//	                                          \----> loophost's agent --NVMe/TCP--> the test's cluster
//
// StartIdentity is a Keystone alone, and StartKeyManager puts a Barbican beside it, for cluster keys.
//
// Without Nova, Cinder's log has the failed attempt to tell it when an attached volume was extended.
//
// Tempest, OpenStack's own suite, judges it: the files in directory tempest say which of its tests run and
// which cannot, with the reason. All that run have to pass.
//
// setup.sh installs what is needed; Start calls it. Every wait is bounded by Patience, far above what an idle
// machine needs, and ends at once when a process it depends on has ended.
package openstack
