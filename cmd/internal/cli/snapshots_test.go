package cli

import (
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// TestSnapshotsOfAVolume walks through the life of a snapshot.
func TestSnapshotsOfAVolume(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "disk1")
	x.c.Own()
	made := x.run("snapshot", "create", "disk1", "monday", "--description", "first", "--meta", "by=me")
	contains(t, made, "monday", "available", "first", "by=me", "nqn.2026-11.io.ashlar:snap:")
	x.run("snapshot", "create", "gold/disk1", "tuesday", "--id", apitest.UUID(12).String())
	contains(t, x.run("snapshot", "list", "disk1"), "monday", "tuesday", "16 MiB")
	contains(t, x.run("snapshot", "list"), "monday", "tuesday")
	out, notes, err := x.try("volume", "space", "disk1")
	if contains(t, out, "disk1@monday", "4 KiB", "8 KiB", "(snapshots alone)"); err != nil {
		t.Fatal(err)
	}
	contains(t, notes, "not counted: device 2 of node 2: its node does not answer")
	contains(t, x.run("snapshot", "update", "disk1@monday", "--name", "sunday"), "sunday", "first", "by=me")
	contains(t, x.run("snapshot", "show", "gold/disk1@sunday"), "sunday")
	x.fails(`no snapshot "monday"`, "snapshot", "show", "disk1@monday")
	x.fails("VOLUME@NAME", "snapshot", "show", "monday")
	x.fails("tuesday", "volume", "revert", "disk1", "--to", "sunday", "--yes")
	x.fails("repeat with --yes", "volume", "revert", "disk1", "--to", "tuesday")
	x.fails("required flag", "volume", "revert", "disk1", "--yes")
	contains(t, x.run("volume", "revert", "gold/disk1", "--to", "tuesday", "--yes"), "disk1", "REVERTED")
	contains(t, x.run("volume", "revert", "disk1", "--to", "disk1@sunday", "--force", "--yes"), "disk1")
	contains(t, x.run("snapshot", "allow", "disk1@sunday", apitest.HostA), "nvme connect", "snap:")
	contains(t, x.run("snapshot", "exports", "disk1@sunday"), apitest.HostA)
	x.fails("snapshot deny", "snapshot", "delete", "disk1@sunday", "--yes")
	x.run("snapshot", "deny", "disk1@sunday", "--all")
	x.fails("repeat with --yes", "snapshot", "delete", "disk1@sunday")
	x.run("snapshot", "delete", "disk1@sunday", "--yes")
	x.fails("--with-snapshots", "volume", "delete", "disk1", "--yes")
	x.run("volume", "delete", "disk1", "--yes", "--with-snapshots")
	x.c.Audit()
}

// TestHostsOfVolumes shows hosts, and takes everything from one.
func TestHostsOfVolumes(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "disk1")
	x.run("volume", "allow", "disk1", apitest.HostB)
	out, notes, err := x.try("host", "list")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, apitest.HostA, apitest.HostB, "CONNECTED TO")
	contains(t, notes, "not asked who is connected: node 2,3")
	if out := x.run("host", "list", "--connected", "-o", "name"); out != apitest.HostA+"\n" {
		t.Errorf("connected: %q", out)
	}
	contains(t, x.run("host", "show", apitest.HostA), "at node 1 from 192.0.2.9:1000", "1 I/O queues")
	contains(t, x.run("host", "show", apitest.HostB), "MAY ATTACH", "disk1")
	x.fails("repeat with --yes", "host", "revoke", apitest.HostB)
	x.run("host", "revoke", apitest.HostB, "--yes")
	x.fails("may attach nothing", "host", "show", apitest.HostB)
	x.c.Audit()
}

// TestClonesOfAVolume walks through the life of clones, which outlive their source.
func TestClonesOfAVolume(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "disk1")
	x.c.Own()
	x.run("snapshot", "create", "disk1", "monday")
	create := func(more ...string) []string { return append([]string{"volume", "create"}, more...) }
	contains(t, x.run(create("disk2", "--from-snapshot", "disk1@monday")...), "disk2", "16 MiB", "PARENT")
	contains(t, x.run(create("disk3", "--from-volume", "disk1", "--size", "32MiB")...), "disk3", "32 MiB")
	x.fails("size_bytes", create("disk4", "--from-volume", "disk1", "--size", "1MiB")...)
	x.fails("from-volume", create("disk4", "--from-volume", "disk1", "--from-snapshot", "disk1@monday")...)
	x.fails(`no snapshot "friday"`, create("disk4", "--from-snapshot", "disk1@friday")...)
	contains(t, x.run("snapshot", "list", "disk1"), "CLONES", "monday")
	contains(t, x.run("volume", "list", "-o", "wide"), "PARENT", apitest.UUID(1).String())
	x.run("volume", "delete", "disk1", "--yes", "--with-snapshots")
	x.fails("no volume", "volume", "show", "disk1")
	contains(t, x.run("volume", "list", "--hidden"), "disk1")
	contains(t, x.run("volume", "show", "disk2"), apitest.UUID(1).String())
	contains(t, x.run("volume", "flatten", "disk2"), "FLATTEN", "16 MiB")
	contains(t, x.run("task", "list", "--kind", "flatten"), "flatten-", "16 MiB")
	contains(t, x.run("task", "show", "rebalance-gold"), "pool gold", "done")
	contains(t, x.run("task", "wait", "rebalance-gold"), "all of it")
	x.fails("does not exist", "task", "cancel", "scrub-99")
	x.c.Audit()
}
