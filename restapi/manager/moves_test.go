package manager_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestMoveRefusals is what stands in the way of a move; nothing is asked then.
func TestMoveRefusals(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Key("k1")
	if _, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k1"}, ""); err != nil {
		t.Fatal(err)
	}
	fresh, vol, sealed := c.Volume(1, "fresh"), c.Volume(2, "v"), encryptedVolume(c, 3)
	for _, v := range []wire.Volume{vol, sealed} {
		c.Served(cluster.VolumeKey(v.VolumeNumbers))
	}
	c.Alive(1, 2)
	elsewhere := func(v wire.Volume) cluster.NodeID {
		o, _, err := store.NewArbiter(c.Store).Owner(t.Context(), cluster.VolumeKey(v.VolumeNumbers))
		if err != nil {
			t.Fatal(err)
		}
		return 3 - min(o.Gateway, 2)
	}
	for _, x := range []struct {
		name  string
		vol   wire.Volume
		to    cluster.NodeID
		match string
		code  wire.Code
		says  string
	}{
		{"to nowhere", vol, 9, "", wire.InvalidField, "node 9 does not exist"},
		{"to a node that is down", sealed, 3, "", wire.Conflict, "alive"},
		{"of what nobody has served", fresh, elsewhere(fresh), "", wire.Conflict, "nobody"},
		{"to where it cannot be opened", sealed, elsewhere(sealed), "", wire.Conflict, "k1"},
		{"of what was changed", vol, elsewhere(vol), `"1"`, wire.PreconditionFailed, "ETag"},
	} {
		before := records(t, c.Store)
		_, _, err := c.Manager.MoveVolume(t.Context(), x.vol.ID, wire.VolumeMove{Node: x.to}, x.match)
		var e *manager.Error
		if !errors.As(err, &e) || e.Code != x.code || !strings.Contains(e.Detail, x.says) {
			t.Errorf("%s: %v", x.name, err)
		}
		if records(t, c.Store) != before {
			t.Errorf("%s: something was changed", x.name)
		}
	}
}

// TestNewVolumesBeginAtHome: their first owner is one of the nodes that are to serve them.
func TestNewVolumesBeginAtHome(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	u := wire.PoolUpdate{Home: new("az1/rack3")}
	if _, err := c.Manager.UpdatePool(t.Context(), "gold", u, ""); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		v := c.Volume(n+1, fmt.Sprintf("v%d", n))
		o, _, err := store.NewArbiter(c.Store).Owner(t.Context(), cluster.VolumeKey(v.VolumeNumbers))
		if err != nil || o.Gateway != 3 {
			t.Errorf("volume %d begins on node %d, %v", n, o.Gateway, err)
		}
	}
}

// TestANodeThatDoesNotComeForIt is not asked for ever: later nobody would expect the volume to move.
func TestANodeThatDoesNotComeForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMem()
		m := manager.New(manager.Options{Store: s, Members: &apitest.Members{}})
		vol := cluster.Volume{UUID: apitest.UUID(1), Name: "v", Pool: "gold", Size: 4096,
			Key: cluster.VolumeKey{VUID: 1, Generation: 1}}
		put := func(key, value string) {
			if _, err := s.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: key, Value: []byte(value)}},
				Blind: []string{key}}); err != nil {
				t.Fatal(err)
			}
		}
		put(cluster.KeyCluster, `{"id":"`+apitest.UUID(9).String()+`"}`)
		put(cluster.KeyNode(2), `{"number":2,"name":"node2"}`)
		put(cluster.KeyNodeAlive(2), `"now"`)
		put(cluster.KeyOwner(vol.Key), `{"gateway":1,"epoch":7,"served":7}`)
		put(cluster.KeyVolume(vol.UUID), `{"uuid":"`+vol.UUID.String()+`","name":"v","pool":"gold","key":`+
			`{"vuid":1,"generation":1},"size":4096}`)
		_, _, err := m.MoveVolume(t.Context(), vol.UUID, wire.VolumeMove{Node: 2}, "")
		var e *manager.Error
		if !errors.As(err, &e) || e.Code != wire.Conflict || !strings.Contains(e.Detail, "did not take") {
			t.Errorf("moved: %v", err)
		}
		if v, err := m.Volume(t.Context(), vol.UUID); err != nil || v.Owner.MovingTo != 0 {
			t.Errorf("it is said to move: %+v, %v", v.Owner, err)
		}
	})
}
