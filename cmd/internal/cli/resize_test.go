package cli

import (
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// TestAVolumeGrowsAndShrinks: it is shrunk in words only, and data is kept unless it may go.
func TestAVolumeGrowsAndShrinks(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	id := x.c.Volume(1, "disk1").ID
	stop := x.c.Own()
	contains(t, x.run("volume", "resize", "disk1", "+16MiB"), "32 MiB")
	x.fails("--shrink cuts off", "volume", "resize", "disk1", "8MiB")
	x.c.Fill(id, 16<<20)
	x.fails("--discard-data", "volume", "resize", "disk1", "8MiB", "--shrink")
	contains(t, x.run("volume", "resize", "disk1", "16MiB", "--shrink"), "16 MiB (16777216 bytes)")
	x.c.Shrunk(id)
	stop() // nobody clears what is cut off now
	contains(t, x.run("volume", "resize", "disk1", "12MiB", "--shrink", "--discard-data"), "12 MiB (")
	x.fails("`ashlar task wait`", "volume", "resize", "disk1", "32MiB")
	contains(t, x.run("volume", "show", "disk1"), "SHRINKS", "to 12 MiB, clearing: 0 B of 4 MiB")
	contains(t, x.run("task", "list", "--kind", "shrink"), "shrink-"+id.String(), apitest.UUID(1).String())
	x.c.Own()
	x.c.Shrunk(id)
	contains(t, x.run("volume", "resize", "disk1", "8MiB", "--shrink", "--discard-data", "--wait"), "done")
	x.c.Audit()
}
