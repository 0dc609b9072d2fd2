//go:build e2e

package guest

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
)

func TestGuestRunsScripts(t *testing.T) {
	g := Start(t, Options{Files: map[string][]byte{"/etc/motd": []byte("hello\n")}})
	out := g.Must("uname -r; cat /etc/nvme/hostnqn /etc/motd; fio --version; nvme version")
	for _, want := range []string{"6.12.", HostNQN, "hello", "fio-3", "nvme version 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if r := g.Run("echo no; exit 3"); r.Code != 3 || r.Output != "no\n" {
		t.Errorf("%+v", r)
	}
}

//go:embed testdata/nt.sh
var nt []byte

// TestGuestAgainstItsOwnTarget proves the fixture with the kernel's target, inside the same guest: what fails
// against our target and passes here is our target's fault.
func TestGuestAgainstItsOwnTarget(t *testing.T) {
	const nqn = "nqn.2026-11.io.ashlar:reference"
	g := Start(t, Options{Files: map[string][]byte{"/bin/nt": nt}})
	g.Must("nt subsys " + nqn + " /dev/ram0; nt port 1 127.0.0.1 4420; nt port 2 127.0.0.1 4421")
	g.Must("nt ana 1 1 optimized; nt ana 2 1 inaccessible; nt link 1 " + nqn + "; nt link 2 " + nqn)
	for port := 4420; port <= 4421; port++ {
		if r := g.Connect(nqn, Portal{"127.0.0.1", port}, "-g -G"); r.Code != 0 {
			t.Fatalf("connect: exit %d\n%s", r.Code, r.Output)
		}
	}
	dev := g.Device(nqn)
	g.Run("iotest write -dev " + dev + " -size 2M -gen 7").Clean(g)
	g.Run("iotest check -dev " + dev + " -size 2M -gen 7").Clean(g)
	if r := g.Run("iotest check -dev " + dev + " -size 2M -gen 8").Report(g); r.Mismatches != 512 {
		t.Errorf("a check of what was not written gives %+v", r)
	}

	io := g.Go("exec iotest steady -dev " + dev + " -size 2M -gen 100")
	io.WaitOutput("@ 1 ")
	g.Must("nt ana 2 1 optimized; nt ana 1 1 inaccessible")
	waitANA(g, "inaccessible optimized")
	io.WaitOutput("@ 3 ")
	g.Must("nt ana 1 1 optimized; nt unlink 2 " + nqn)
	g.Until("grep -q connecting /sys/class/nvme/nvme1/state")
	io.WaitOutput("@ 5 ")
	g.Must("nt link 2 " + nqn)
	g.Until("grep -q live /sys/class/nvme/nvme1/state")
	io.Interrupt()
	t.Logf("steady: %+v; paths %+v", io.Wait().Clean(g), g.Paths(nqn))
	if bad := g.IOErrors(); len(bad) > 0 {
		t.Errorf("kernel says:\n%s", strings.Join(bad, "\n"))
	}
	g.Must("nvme disconnect -n " + nqn)
}

// TestGuestSeesIOErrors proves that the signs of an I/O error are found when there is one.
func TestGuestSeesIOErrors(t *testing.T) {
	const nqn = "nqn.2026-11.io.ashlar:reference"
	g := Start(t, Options{Files: map[string][]byte{"/bin/nt": nt}})
	g.Must("nt subsys " + nqn + " /dev/ram0; nt port 1 127.0.0.1 4420; nt link 1 " + nqn)
	if r := g.Connect(nqn, Portal{"127.0.0.1", 4420}, "--ctrl-loss-tmo=2"); r.Code != 0 {
		t.Fatalf("connect: exit %d\n%s", r.Code, r.Output)
	}
	io := g.Go("exec iotest steady -dev " + g.Device(nqn) + " -size 1M")
	io.WaitOutput("@ 1 ")
	g.Must("nt unlink 1 " + nqn)
	g.Until("[ ! -e /sys/class/nvme/nvme0 ]")
	io.Interrupt()
	if r := io.Wait(); r.Code != 1 || r.Report(g).Errors == 0 {
		t.Errorf("exit %d: %+v", r.Code, r.Report(g))
	}
	if len(g.IOErrors()) == 0 {
		t.Errorf("the kernel's log is clean:\n%s", g.Must("dmesg | tail"))
	}
}

// waitANA waits until the states of the paths, in order of the controllers, are those wanted.
func waitANA(g *Guest, want string) {
	g.t.Helper()
	g.Until(fmt.Sprintf(`[ "$(echo $(cat /sys/class/nvme/nvme*/nvme*c*n*/ana_state))" = '%s' ]`, want))
}
