package watch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/delta"
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

// TestNewsAreWhatDiffers from the state before, whatever has happened in between.
func TestNewsAreWhatDiffers(t *testing.T) {
	const volumes, rounds = 5, 3000
	tab, chance := newTable(), rand.New(rand.NewPCG(1, 2))
	was := tab.state(1)
	if was.News != nil {
		t.Error("the first state has news")
	}
	for rev := int64(2); rev < rounds; rev++ {
		v := volume(1 + chance.IntN(volumes))
		key, value := cluster.KeyVolume(v.UUID), text(v)
		if chance.IntN(2) == 0 {
			key, value = cluster.KeyOwner(v.Key), text(cluster.Owner{Gateway: 1, Epoch: uint32(rev)})
		}
		if chance.IntN(3) == 0 {
			tab.remove(key)
		} else if _, err := tab.put(&mvccpb.KeyValue{Key: []byte(key), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
		if chance.IntN(3) != 0 {
			continue
		}
		is := tab.state(rev)
		news := *is.News
		if news.Since != was.Revision {
			t.Fatalf("news of state %d since %d, the state before is %d", rev, news.Since, was.Revision)
		}
		news.Volumes = slices.DeleteFunc(news.Volumes, func(k cluster.VolumeKey) bool { // came and went
			return was.Volumes[k] == is.Volumes[k]
		})
		news.Owners = slices.DeleteFunc(news.Owners, func(k cluster.VolumeKey) bool {
			return was.Owners[k] == is.Owners[k]
		})
		same(t, "volumes", news.Volumes, delta.Keys(was.Volumes, is.Volumes))
		same(t, "owners", news.Owners, delta.Keys(was.Owners, is.Owners))
		was = is
	}
}

func same(t *testing.T, what string, got, want []cluster.VolumeKey) {
	t.Helper()
	byVUID := func(a, b cluster.VolumeKey) int { return int(a.VUID) - int(b.VUID) }
	slices.SortFunc(got, byVUID)
	slices.SortFunc(want, byVUID)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: news of %v, what differs is %v", what, got, want)
	}
}
