package daemon

import (
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// copied is a volume with two copies in a cluster of three nodes, attached by way of all of them.
func (w *whole) copied(o Options) (wire.Volume, *initiator.Volume) {
	w.t.Helper()
	portals := []string{o.Listen.Hosts}
	for i, name := range []string{"b", "c"} {
		tok, err := w.c.CreateToken(w.ctx, wire.TokenCreate{Name: name, Role: "join", ExpiresSeconds: 600})
		if err != nil {
			w.t.Fatal(err)
		}
		n := testOptions(w.t, name)
		n.NewDataPlane = NewNode
		n.First = First{JoinURLs: []string{"http://" + o.Listen.REST}, JoinToken: tok.Secret}
		start(w.t, n)
		portals = append(portals, n.Listen.Hosts)
		eventually(w.t, w.ctx, "the node is online", func() error { return online(w.ctx, w.c, i+2) })
		eventually(w.t, w.ctx, "its device is added", func() error {
			_, err := w.c.CreateDevice(w.ctx, wire.DeviceCreate{Node: cluster.NodeID(i + 2), Size: 128 << 20,
				Path: filepath.Join(n.DataDir, "disk")})
			return err
		})
	}
	_, err := w.c.CreatePool(w.ctx, wire.PoolCreate{Name: "copies"})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: "v", Pool: "copies", Size: 16 << 20})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.c.PutExport(w.ctx, v.ID, testHost); err != nil {
		w.t.Fatal(err)
	}
	cfg := initiator.VolumeConfig{Portals: portals}
	cfg.SubNQN, cfg.HostNQN, cfg.HostID = v.NQN, testHost, [16]byte{1}
	open, err := initiator.Open(w.ctx, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return v, open
}

// BenchmarkMoveVolume moves a volume around three nodes of this process while a host writes 4 KiB at a time:
// how long its slowest command took (pause-p50-ms, pause-max-ms), and the call (call-p50-ms). Run it with
// -benchtime=20x.
func BenchmarkMoveVolume(b *testing.B) {
	o := testOptions(b, "a")
	w := newWhole(b, o)
	v, open := w.copied(o)
	// Before the host begins: else its first command waits for the first open, and counts for the first move.
	eventually(b, w.ctx, "the volume is served", func() (err error) {
		_, err = w.c.MoveVolume(w.ctx, v.ID, 1)
		return err
	})
	var slowest atomic.Int64
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		block := make([]byte, 4096)
		for i := int64(0); ; i++ {
			began := time.Now()
			if err := open.Write(w.ctx, block, i%1024*4096); err != nil {
				stopped <- err
				return
			}
			slowest.Store(max(slowest.Load(), int64(time.Since(began)))) // the reader puts back 0: it may miss one
			select {
			case <-stop:
				stopped <- open.Close()
				return
			default:
			}
		}
	}()
	var pauses, calls []time.Duration
	for b.Loop() {
		slowest.Store(0)
		began := time.Now()
		if _, err := w.c.MoveVolume(w.ctx, v.ID, cluster.NodeID(len(calls)+1)%3+1); err != nil {
			b.Fatal(err)
		}
		calls = append(calls, time.Since(began))
		done := slowest.Load()
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); done = slowest.Load() {
			if _, err := w.c.GetVolume(w.ctx, v.ID); err != nil {
				b.Fatal(err)
			}
		}
		pauses = append(pauses, time.Duration(done))
	}
	close(stop)
	if err := <-stopped; err != nil {
		b.Fatal(err)
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	slices.Sort(pauses)
	slices.Sort(calls)
	b.ReportMetric(ms(pauses[len(pauses)/2]), "pause-p50-ms")
	b.ReportMetric(ms(pauses[len(pauses)-1]), "pause-max-ms")
	b.ReportMetric(ms(calls[len(calls)/2]), "call-p50-ms")
}
