package voter

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
)

func fence(vuid, epoch uint32) lease.Fence {
	return lease.Fence{Vol: cluster.VolumeKey{VUID: vuid, Generation: 1}, Epoch: epoch}
}

func TestFencesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	v, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []lease.Fence{fence(1, 3), fence(2, 1), fence(1, 4)} {
		if a, err := v.Fence(f, 9); err != nil || a.Known != f.Epoch {
			t.Fatalf("%v: %+v, %v", f, a, err)
		}
	}
	if a, _ := v.Fence(fence(1, 2), 9); a.Known != 4 {
		t.Fatalf("a lower epoch got %d, want the stored 4", a.Known)
	}
	v.Close()
	raw, _ := os.ReadFile(filepath.Join(dir, fileName))
	torn := append(raw, 1, 2, 3)
	if err := os.WriteFile(filepath.Join(dir, fileName), torn, 0o600); err != nil {
		t.Fatal(err)
	}
	v, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	r := v.Renew(9, lease.Position{})
	if len(r.Fences) != 2 || r.Fences[0] != fence(2, 1) || r.Fences[1] != fence(1, 4) {
		t.Fatalf("after the restart: %v", r.Fences)
	}
}

func TestDamageIsRefused(t *testing.T) {
	dir := t.TempDir()
	b := encode(encode(encode(nil, fence(1, 1)), fence(2, 2)), fence(3, 3))
	b[3] ^= 1
	if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(encode(nil, fence(1, 1)), fence(2, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		fences, err := decode(b)
		if err == nil && len(fences) > len(b)/recordSize {
			t.Fatal("more fences than records")
		}
	})
}
