//go:build e2e

package kernel

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// waitANA waits until the host sees these states on its paths, in the order of its controllers.
func waitANA(g *guest.Guest, want string) {
	g.Until(fmt.Sprintf(`[ "$(echo $(cat /sys/class/nvme/nvme*/nvme*c*n*/ana_state))" = '%s' ]`, want))
}

// TestHandOver moves the optimized state between two portals, back and forth, under I/O: the host learns it
// from asynchronous events, waits while no path is usable, and sees no error.
func TestHandOver(t *testing.T) {
	s := serve(t, 2, 64<<20)
	g := guest.Start(t, guest.Options{})
	dev := s.attach(g)
	waitANA(g, "optimized inaccessible")
	io := g.Go("exec iotest steady -dev " + dev + " -size 4M -rate 100")
	load := g.Go("cd /tmp && fio --name=load --filename=" + dev +
		" --offset=32M --size=4M --direct=1 --rw=randrw --bs=4k --iodepth=8 --ioengine=libaio --rate_iops=100 " +
		"--time_based --runtime=15 --verify=crc32c")
	io.WaitOutput("@ 1 ")
	for round := 1; round <= 4; round++ {
		s.optimize(round % 2)
		want := "optimized inaccessible"
		if round%2 == 1 {
			want = "inaccessible optimized"
		}
		waitANA(g, want)
		io.WaitOutput(fmt.Sprintf("@ %d ", 2*round))
	}
	io.Interrupt()
	t.Logf("steady: %+v", io.Wait().Clean(g))
	if r := load.Wait(); r.Code != 0 {
		t.Errorf("fio: exit %d\n%s", r.Code, r.Output)
	}
	detach(g, t)
}

// TestPathLoss ends one target outright, as kill -9 of a node would, while the other one takes over a moment
// later; the first comes back as a new process would.
func TestPathLoss(t *testing.T) {
	s := serve(t, 2, 64<<20)
	g := guest.Start(t, guest.Options{})
	dev := s.attach(g)
	io := g.Go("exec iotest steady -dev " + dev + " -size 4M -rate 100")
	io.WaitOutput("@ 1 ")
	if err := s.targets[0].Close(); err != nil {
		t.Fatal(err)
	}
	g.Until("grep -q connecting /sys/class/nvme/nvme0/state")
	s.optimize(1)
	g.Until("grep -q ^optimized /sys/class/nvme/nvme1/nvme*c*n*/ana_state")
	progress := io.Output()
	g.Eventually("I/O goes on over the other path", func() bool { return io.Output() != progress })

	s.restart(0)
	g.Until("grep -q live /sys/class/nvme/nvme0/state")
	waitANA(g, "inaccessible optimized")
	s.optimize(0)
	waitANA(g, "optimized inaccessible")
	progress = io.Output()
	g.Eventually("I/O goes on over the first path", func() bool { return io.Output() != progress })
	io.Interrupt()
	t.Logf("steady: %+v", io.Wait().Clean(g))
	detach(g, t)
}

// TestKeepAliveTimeout stops the whole guest for longer than its keep-alive timeout: the target must let go
// of its connections by itself, and take the host back when it wakes.
func TestKeepAliveTimeout(t *testing.T) {
	s := serve(t, 1, 64<<20)
	g := guest.Start(t, guest.Options{})
	dev := s.attach(g, "--keep-alive-tmo=2")
	g.Run("iotest write -dev " + dev + " -size 1M").Clean(g)
	port := s.portals[0].Port
	if established(t, port) == 0 {
		t.Fatal("no connection to lose")
	}
	g.Pause()
	g.Eventually("the target drops a host that is silent", func() bool { return established(t, port) == 0 })
	g.Resume()
	g.Until("dmesg | grep -q 'Successfully reconnected'")
	g.Run("iotest check -dev " + dev + " -size 1M").Clean(g)
}
