//go:build e2e && full

package brick

import (
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/guest"
)

const (
	secondID  = "22222222-3333-4444-5555-666666666666"
	secondNQN = "nqn.2014-08.org.nvmexpress:uuid:" + secondID
)

// TestLiveMigration is what a live migration of a server asks of os-brick and of us, there and back: the
// destination attaches while the source is at work, I/O moves, the source detaches. While both are attached,
// each reads at once what the other wrote; no step costs an I/O error on either side.
func TestLiveMigration(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Advertise: guest.HostAddr})
	v := c.CreateVolume("migrates", 64<<20)
	a := &life{t: t, c: c, h: Start(t, guest.Options{}, Current), made: v}
	b := &life{t: t, c: c, made: v,
		h: Start(t, guest.Options{HostNQN: secondNQN, HostID: secondID}, Current)}
	a.attach(Stock, true)
	a.migrate(b, 100)
	b.migrate(a, 200)
	a.detach()
}

// migrate moves a server from one host to another. What it writes are generations from gen on.
func (l *life) migrate(to *life, gen int) {
	l.t.Helper()
	io := l.steady(gen)
	to.at = export(to.t, to.c, to.h, to.made, Stock, true)
	if err := to.h.Connect(to.at); err != nil {
		to.t.Fatal(err)
	}
	to.expectPaths(len(to.c.Nodes))
	progress(l.h, io)
	io.Interrupt() // QEMU pauses the server on the source
	l.t.Logf("the destination was attached meanwhile: %+v", io.Wait().Clean(l.h.Guest))

	turns := []*life{l, to}
	for turn := range 6 { // the last to write is the destination
		turns[turn%2].run("write", gen+turn)
		turns[(turn+1)%2].run("check", gen+turn)
	}
	io = to.steady(gen + 50)
	l.detach()
	progress(to.h, io)
	io.Interrupt()
	to.t.Logf("the source was detached meanwhile: %+v", io.Wait().Clean(to.h.Guest))
	to.expectPaths(len(to.c.Nodes))
}
