package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestSimulate needs no cluster: what a pool would look like, and what changes would move.
func TestSimulate(t *testing.T) {
	x := &terminal{t: t}
	t.Setenv("ASHLAR_ENDPOINT", "http://192.0.2.1:1")
	out := x.run("placement", "simulate", "--nodes", "4", "--data", "2", "--change", "add-node",
		"--change", "fail-device=201", "--change", "reweight=301:50", "--change", "add-device=2", "--change",
		"remove-node")
	contains(t, out, "TABLE", "RATIO", "add 501,502,503,504     20       39321  39321", "fail 201",
		"reweight 301:50", "add 205",
		"remove 501,502,503,504", "1.000..1.000")

	var steps []step
	raw := x.run("placement", "simulate", "--nodes", "5", "--weights", "300,100,100,100", "--devices-per-node",
		"1", "--parity", "2", "--change", "fail-device=501", "-o", "json")
	if err := json.Unmarshal([]byte(raw), &steps); err != nil || len(steps) != 2 {
		t.Fatalf("%v in %s", err, raw)
	}
	if a, b := steps[0], steps[1]; a.Capped != 0 || len(a.Devices) != 5 || a.Moved != 0 ||
		b.Change.Kind != cluster.ChangeFail || b.Ratio < 1 || b.Moved < b.Minimum || b.Capped != 1 {
		t.Errorf("%+v\n%+v", a, b)
	}
	x.fails("too few failure domains", "placement", "simulate", "--nodes", "2", "--parity", "2")
	contains(t, x.run("placement", "simulate", "--nodes", "2", "--parity", "2", "--relax", "-o", "yaml"),
		"chunks_per_domain: 2")
	x.fails("is none of add-device", "placement", "simulate", "--change", "explode")
	x.fails("reweight=DEVICE:WEIGHT", "placement", "simulate", "--change", "reweight=101")
	x.fails("device 999 does not belong", "placement", "simulate", "--change", "fail-device=999")
	x.fails("weight 0 is not from 1", "placement", "simulate", "--weights", "0")
	x.fails("none of az, rack", "placement", "simulate", "--domain", "room")
}

// TestSimulateAPoolRecord replays a record as it is in etcd.
func TestSimulateAPoolRecord(t *testing.T) {
	x := &terminal{t: t}
	path := filepath.Join(t.TempDir(), "pool.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"name": "p", "data": 1, "parity": 1, "domain": "node", "members": [
		{"device": 1, "weight": 16, "domain": "az/rack/1"}, {"device": 2, "weight": 16, "domain": "az/rack/2"}],
		"changes": [{"kind": "add", "members": [{"device": 3, "weight": 16, "domain": "az/rack/3"}]}]}`)
	contains(t, x.run("placement", "simulate", "--file", path), "add 3", "43690", "1.000")
	write(`{"name": "p", "devices": [1, 2]}`)
	x.fails("unknown field", "placement", "simulate", "--file", path)
	x.fails("no such file", "placement", "simulate", "--file", path+"x")
}
