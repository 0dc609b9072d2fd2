//go:build e2e

package kernel

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/guest"
)

//go:embed testdata/target-control.sh
var targetControl []byte

// TestBlktests runs the tests of blktests' nvme group that make sense against a remote target that is set up
// already. The suite is not ours and not packaged: BLKTESTS names the directory of a built checkout
// (https://github.com/linux-blktests/blktests, `make`; 012 and 047 want xfsprogs on the host), without it there is nothing to run.
func TestBlktests(t *testing.T) {
	dir := os.Getenv("BLKTESTS")
	if dir == "" {
		t.Skip("BLKTESTS names no checkout of blktests")
	}
	s := serveMDTS(t, 1, 512<<20, 1<<20) // 029 wants more than 512 KiB in a command, 012 an image of 350 MiB
	g := guest.Start(t, guest.Options{
		HostRoot: true, MemoryMiB: 1536, Patience: 5 * time.Minute,
		Files: map[string][]byte{
			"/files/target-control": targetControl,
			// No udev here, and its complaints would differ; Debian's release is no number to blktests.
			"/files/bin/udevadm": []byte("#!/bin/sh\nexit 0\n"),
			"/files/bin/uname":   []byte("#!/bin/sh\n[ \"$*\" = -r ] && echo 6.12.0 || exec /bin/uname \"$@\"\n"),
		},
	})
	g.Must("cp /tmp/files/bin/* /tmp/bin/; cp -a /run/host" + dir + " /tmp/blktests")
	g.Must(`cat >/tmp/blktests/config <<END
NVME_TARGET_CONTROL=/tmp/files/target-control
NVME_IMG_SIZE=400M
NVME_NUM_ITER=3
QUICK_RUN=1
TIMEOUT=5
END`)
	env := fmt.Sprintf("export TARGET_ADDR=%s TARGET_PORT=%d TARGET_UUID=%s TARGET_NQN=%s "+
		"NVME_TARGET_CONTROL=/tmp/files/target-control; cd /tmp/blktests; ",
		s.portals[0].Addr, s.portals[0].Port, volumeUUID, volumeNQN)
	for _, number := range []string{"003", "004", "005", "006", "008", "010", "012", "014", "018", "019", "021",
		"022", "023", "025", "026", "027", "028", "029", "040", "047"} {
		t.Run(number, func(t *testing.T) {
			r := g.Run(env + "timeout 180 ./check nvme/" + number + " 2>&1")
			t.Logf("%s", strings.TrimSpace(r.Output))
			switch {
			case strings.Contains(r.Output, "[not run]"):
				t.Skip("blktests says: not run")
			case r.Code != 0 || !strings.Contains(r.Output, "[passed]"):
				t.Errorf("exit %d\n%s", r.Code, g.Run("dmesg | tail -5").Output)
			}
			g.Run("nvme disconnect-all")
		})
	}
}
