package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestAPoolIsDeletedAndMadeAgain by a real daemon: it stays while its volume, or what the device holds of it,
// is there. The next one of its name has another shape, and shows neither data nor figures of the old one.
func TestAPoolIsDeletedAndMadeAgain(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	w.put(w.volume, 0, 1)
	if err := w.c.DeletePool(w.ctx, "gold", ""); !client.Is(err, wire.PoolNotEmpty) {
		t.Errorf("with a volume: %v", err)
	}
	if err := w.c.DeleteVolume(w.ctx, w.volume.ID, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, w.ctx, "the pool is deleted", func() error { return w.c.DeletePool(w.ctx, "gold", "") })
	_, text := w.get("http://"+w.o.Listen.REST+"/metrics", w.token)
	if want := `ashlar_store_blocks{device="1",state="live"} 0` + "\n"; !strings.Contains(text, want) {
		t.Errorf("the device still holds something: no %q", want)
	}
	eventually(t, w.ctx, "the series of the pool vanish", func() error {
		if _, text = w.get("http://"+w.o.Listen.REST+"/metrics", w.token); strings.Contains(text, `pool="gold"`) {
			return fmt.Errorf("they are there")
		}
		return nil
	})

	r := wire.PoolCreate{Name: "gold", Parity: new(int), ChunkSize: 64 << 10, StripeUnit: 4 << 10}
	if _, err := w.c.CreatePool(w.ctx, r); err != nil {
		t.Fatal(err)
	}
	st, err := w.c.GetPoolStatistics(w.ctx, "gold", time.Hour)
	if err != nil || st.Totals.Write.Operations != 0 || len(st.Samples) != 0 {
		t.Errorf("the new pool has done something: %+v, %v", st, err)
	}
	v, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: "disk1", Pool: "gold", Size: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	w.wants(v, 0)
	w.put(v, 0, 2)
	w.wants(v, 2, 0)
	if st, err = w.c.GetPoolStatistics(w.ctx, "gold", 0); err != nil || st.Totals.Write.Bytes != 1<<20 {
		t.Errorf("the new pool counts %+v, %v", st.Totals, err)
	}
}
