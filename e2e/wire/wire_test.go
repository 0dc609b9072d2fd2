//go:build e2e

package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// TestJudgeOfTheKernelsOwnTarget shows that the judge finds nothing wrong between the Linux host and the
// Linux target (in a guest of its own, because inside one guest nothing passes the capture), and that it
// would see damage: one flipped bit in the capture is a wrong digest.
func TestJudgeOfTheKernelsOwnTarget(t *testing.T) {
	const nqn = "nqn.2026-11.io.ashlar:reference"
	nt, err := os.ReadFile("../guest/testdata/nt.sh")
	if err != nil {
		t.Fatal(err)
	}
	target := guest.Start(t, guest.Options{Expose: []int{4420}, Files: map[string][]byte{"/bin/nt": nt}})
	target.Must("nt subsys " + nqn + " /dev/ram0; nt port 1 10.0.2.15 4420; nt link 1 " + nqn)

	capture := filepath.Join(t.TempDir(), "wire.pcap")
	host := guest.Start(t, guest.Options{Capture: capture})
	port := target.Exposed(4420)
	if r := host.Connect(nqn, guest.Portal{Addr: guest.HostAddr, Port: port}, "-g -G"); r.Code != 0 {
		t.Fatalf("connect: exit %d\n%s", r.Code, r.Output)
	}
	dev := host.Device(nqn)
	host.Run("iotest write -dev " + dev + " -size 256K").Clean(host)
	host.Run("iotest check -dev " + dev + " -size 256K").Clean(host)
	host.Must("nvme disconnect -n " + nqn)
	host.Stop()

	v, err := Judge(capture, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", v)
	if v.BadDigests+len(v.Malformed)+v.Terminated > 0 || v.Digests == 0 || v.Types["C2HData"] == 0 {
		t.Errorf("not what a good conversation looks like: %+v", v)
	}
	raw, err := os.ReadFile(capture)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, []byte("testalsh")) // how iotest's blocks begin
	if at < 0 {
		t.Fatal("no block of iotest in the capture")
	}
	raw[at+64] ^= 1
	if err := os.WriteFile(capture, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err = Judge(capture, port); err != nil || v.BadDigests == 0 {
		t.Errorf("a flipped bit goes unseen: %+v, %v", v, err)
	}
}
