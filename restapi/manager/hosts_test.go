package manager_test

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
)

// TestOneHost: whoever asks for a host gets what that one may attach, and nothing of hosts whose names begin
// with its name, or of things that are called like it; whatever characters the name has.
func TestOneHost(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	const host = "nqn.2014-08.org.example:<a>&\"b/ö"
	c.Volume(1, "mine")
	c.Volume(2, "others")
	c.Volume(3, "hidden")
	for id, nqn := range map[int]string{1: host, 2: host + "c"} {
		if _, _, err := c.Manager.Allow(t.Context(), manager.OfVolume(apitest.UUID(id)), nqn, ""); err != nil {
			t.Fatal(err)
		}
	}
	defer c.Own()()
	c.Snapshot(apitest.UUID(2), 10, "s")
	snapshot := manager.OfSnapshot(apitest.UUID(10))
	if _, _, err := c.Manager.Allow(t.Context(), snapshot, host, ""); err != nil {
		t.Fatal(err)
	}
	got, err := c.Manager.Hosts(t.Context(), host)
	if err != nil || len(got) != 1 || got[0].NQN != host || len(got[0].Access) != 2 ||
		got[0].Access[0].Volume != apitest.UUID(1) || got[0].Access[1].Snapshot != apitest.UUID(10) {
		t.Errorf("the host: %+v, %v", got, err)
	}
	if all, err := c.Manager.Hosts(t.Context(), ""); err != nil || len(all) != 2 {
		t.Errorf("all hosts: %+v, %v", all, err)
	}
	if err := c.Manager.Revoke(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Manager.Hosts(t.Context(), host); err != nil || len(got) != 0 {
		t.Errorf("after everything was taken from it: %+v, %v", got, err)
	}
	var left cluster.UUID
	if got, err := c.Manager.Hosts(t.Context(), host+"c"); err == nil && len(got) == 1 {
		left = got[0].Access[0].Volume
	}
	if left != apitest.UUID(2) {
		t.Errorf("the other host has lost volume 2")
	}
}
