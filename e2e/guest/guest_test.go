//go:build e2e

package guest

import (
	"strings"
	"testing"
)

func TestGuestRunsScripts(t *testing.T) {
	g := Start(t, Options{})
	if out := g.Must("uname -r; cat /etc/nvme/hostnqn"); !strings.Contains(out, "6.12.") ||
		!strings.Contains(out, HostNQN) {
		t.Errorf("it says %q", out)
	}
	if r := g.Run("echo no; exit 3"); r.Code != 3 || r.Output != "no\n" {
		t.Errorf("%+v", r)
	}
	t.Logf("%s", g.Must("fio --version; nvme version; mkfs.ext4 -V 2>&1; lsmod; free -m; cat /proc/uptime"))
	t.Logf("%s", g.Console())
}
