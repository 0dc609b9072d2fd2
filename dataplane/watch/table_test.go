package watch

import (
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// FuzzTablePut feeds any value under any key: it may be refused, it must not panic, and what is accepted must
// be found under the key it names.
func FuzzTablePut(f *testing.F) {
	v := volume(1)
	f.Add(cluster.KeyVolume(v.UUID), text(v))
	f.Add(cluster.KeyOwner(v.Key), text(cluster.Owner{Gateway: 1, Epoch: 2}))
	f.Add(cluster.KeyPool("p"), text(pool("p")))
	f.Add(cluster.KeyNode(1), `{"number":1}`)
	f.Add(cluster.KeyDevice(1), `null`)
	f.Add(cluster.KeyMapEpoch, "18446744073709551616")
	f.Add(cluster.KeyVoters, `{"nodes":[1,"2"]}`)
	f.Fuzz(func(t *testing.T, key, value string) {
		tab := newTable()
		changed, err := tab.put(&mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: 3})
		s := tab.state(3)
		if err != nil && changed != s.Unreadable {
			t.Fatal("changed and failed")
		}
		for k, v := range s.Volumes {
			if v == nil || v.Key != k || cluster.KeyVolume(v.UUID) != key {
				t.Fatalf("volume %v under %s", v, key)
			}
		}
		records := len(s.Volumes) + len(s.Owners) + len(s.Map.Nodes) + len(s.Map.Devices) + len(s.Map.Pools)
		if err != nil && records != 0 {
			t.Fatalf("refused (%v) and kept", err)
		}
		if tab.remove(key); records == 1 {
			after := tab.state(4)
			if n := len(after.Volumes) + len(after.Owners) + len(after.Map.Nodes) + len(after.Map.Devices) +
				len(after.Map.Pools); n != 0 {
				t.Fatalf("%d records left after the removal of %s", n, key)
			}
		}
	})
}

// TestAVolumeRecordThatCannotBeReadIsNoDeletedVolume: its data must not be purged.
func TestAVolumeRecordThatCannotBeReadIsNoDeletedVolume(t *testing.T) {
	v := volume(1)
	key := cluster.KeyVolume(v.UUID)
	tab := newTable()
	tab.put(&mvccpb.KeyValue{Key: []byte(cluster.KeyCounterVUID), Value: []byte("7")})
	if !tab.state(1).Deleted(v.Key) {
		t.Fatal("a volume without record, below the counter, was deleted")
	}
	changed, err := tab.put(&mvccpb.KeyValue{Key: []byte(key), Value: []byte(`{"size":"?"}`)})
	if err == nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if s := tab.state(2); s.Deleted(v.Key) {
		t.Fatal("a volume whose record cannot be read counts as deleted")
	}
	tab.put(&mvccpb.KeyValue{Key: []byte(key), Value: []byte(text(v))})
	if s := tab.state(3); s.Deleted(v.Key) || s.Unreadable {
		t.Fatal("the record can be read again")
	}
	if tab.remove(key); !tab.state(4).Deleted(v.Key) {
		t.Fatal("the record was deleted")
	}
}
