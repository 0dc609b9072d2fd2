package openstack

import (
	"reflect"
	"testing"

	"github.com/ashlar-storage/ashlar/cmd/internal/openstack/openstacktest"
)

// TestReadCinder: of everything that Cinder has, what is in the cluster.
func TestReadCinder(t *testing.T) {
	const clusterID = "0d0d0d0d-0000-4000-8000-000000000001"
	cloud := openstacktest.New(t, clusterID)
	for n, status := range []string{"available", "in-use", "in-use", "available", "available"} {
		cloud.Volume(id(n+1), status)
	}
	cloud.Attach(id(1), "")
	cloud.Attach(id(2), "nqn.a")
	cloud.Volumes[3]["os-vol-host-attr:host"] = "vm@lvm#lvm"
	cloud.Volumes[4]["os-vol-mig-status-attr:name_id"] = id(50)
	cloud.Volumes[4]["os-vol-host-attr:host"] = "other@ashlar-1#gold"
	cloud.Volumes[4]["cluster_name"] = openstacktest.Host
	cloud.Snapshot(id(9), id(1), "error")
	cloud.Volumes[0]["group_id"] = id(20)
	cloud.Snapshot(id(10), id(1), "available")
	cloud.Snapshots[1]["group_snapshot_id"] = id(30)
	for n, status := range []string{"available", "updating", "error"} { // more than a page
		cloud.Group(id(20+n), n != 1, status)
	}
	cloud.GroupSnapshot(id(30), id(20), "creating")

	c, err := Login(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadCinder(t.Context(), c, clusterID)
	if err != nil {
		t.Fatal(err)
	}
	want := Cinder{Pools: []string{"gold"}, Snapshots: []Snapshot{
		{ID: id(9), Volume: id(1), Status: "error"},
		{ID: id(10), Volume: id(1), Moment: id(30), Status: "available"},
	}, Groups: []Group{
		{ID: id(20), Consistent: true, Status: "available"},
		{ID: id(21), Status: "updating"},
		{ID: id(22), Consistent: true, Status: "error"},
	}, Moments: []Moment{{ID: id(30), Group: id(20), Status: "creating"}}, Volumes: []Volume{
		{ID: id(1), Known: id(1), Status: "available", Group: id(20), Hosts: []string{}, Vague: true},
		{ID: id(2), Known: id(2), Status: "in-use", Hosts: []string{"nqn.a"}},
		{ID: id(3), Known: id(3), Status: "in-use", Vague: true},
		{ID: id(5), Known: id(50), Status: "available"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if _, err := ReadCinder(t.Context(), c, "another"); err == nil {
		t.Error("no back end is this cluster, and yet it is compared")
	}
	t.Setenv("OS_AUTH_URL", "http://127.0.0.1:1/v3")
	if _, err := Login(t.Context(), ""); err == nil {
		t.Error("logged in where nobody answers")
	}
}
