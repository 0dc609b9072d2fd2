package api_test

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// policies makes the calls about encryption and limits, and ends a pool.
func (w *world) policies(ok func(int, string, string, string, ...string) reply) {
	w.encryptOverHTTP(ok)
	w.boundOverHTTP(ok)
	w.protectOverHTTP(ok)
	w.provisionOverHTTP(ok)
	w.moveOverHTTP(ok)
	w.settleOverHTTP(ok)
	r := ok(201, "POST", "/v1/pools", `{"name":"tin","parity":0}`)
	ok(204, "DELETE", "/v1/pools/tin", "", "If-Match", r.header.Get("ETag"))
}

// settleOverHTTP says which nodes are to serve volumes.
func (w *world) settleOverHTTP(ok func(int, string, string, string, ...string) reply) {
	at := "/v1/volumes/" + w.Volume(75, "settled").ID.String() + "/home"
	ok(200, "PATCH", "/v1/pools/gold", `{"home":"az1","balance":false}`)
	ok(200, "PUT", at, `{"home":"az1/rack1/1"}`)
	ok(200, "PUT", at, `{"home":""}`)
	ok(200, "DELETE", at, "")
	for _, home := range []string{"az2", "az1/rack1/7", "az1//1", "az1/rack1/1/1", "az"} {
		if r := w.call("PUT", at, fmt.Sprintf(`{"home":%q}`, home)); r.status != 400 {
			w.T.Errorf("home %q: %d %s", home, r.status, r.body)
		}
	}
}

// moveOverHTTP has another node serve a volume.
func (w *world) moveOverHTTP(ok func(int, string, string, string, ...string) reply) {
	v := w.Volume(76, "moved")
	key := cluster.VolumeKey(v.VolumeNumbers)
	w.Alive(1, 2)
	w.Served(key)
	stop := w.Own()
	defer stop()
	for _, to := range []cluster.NodeID{2, 1, 1} {
		ok(200, "PUT", "/v1/volumes/"+v.ID.String()+"/owner", fmt.Sprintf(`{"node":%d}`, to)).into(w.T, &v)
		if v.Owner.Gateway != to || v.Owner.MovingTo != 0 {
			w.T.Errorf("moved to node %d, it is said to be at %+v", to, v.Owner)
		}
	}
	if r := w.call("PUT", "/v1/volumes/"+v.ID.String()+"/owner", `{"node":9}`); r.status != 400 {
		w.T.Errorf("moved to a node that does not exist: %d %s", r.status, r.body)
	}
}

// provisionOverHTTP bounds what volumes may ask for.
func (w *world) provisionOverHTTP(ok func(int, string, string, string, ...string) reply) {
	ok(200, "PATCH", "/v1/pools/gold", `{"overcommit_ratio":2.5,"provisioning":"thin"}`)
	ok(201, "POST", "/v1/volumes", `{"name":"thick","pool":"gold","size_bytes":4096,"provisioning":"thick"}`)
}

// protectOverHTTP keeps hosts from writing to a volume.
func (w *world) protectOverHTTP(ok func(int, string, string, string, ...string) reply) {
	v := w.Volume(78, "protected")
	ok(200, "PATCH", "/v1/volumes/"+v.ID.String(), `{"read_only":true}`)
}

// encryptOverHTTP makes an encrypted volume, for which the cluster needs a key.
func (w *world) encryptOverHTTP(ok func(int, string, string, string, ...string) reply) {
	w.Key("k1")
	if _, err := w.Manager.Authority(w.T.Context()); err != nil {
		w.T.Fatal(err)
	}
	ok(200, "GET", "/v1/authority", "")
	ok(200, "POST", "/v1/authority/rotate", `{"overlap_seconds":0,"leave_absent":true}`)
	ok(200, "POST", "/v1/keys/rotate", `{"to":"k1"}`)
	ok(201, "POST", "/v1/volumes",
		`{"name":"sealed","pool":"gold","size_bytes":4096,"encryption":"aes-256-xts"}`)
	ok(200, "GET", "/v1/keys", "")
	ok(201, "POST", "/v1/volumes", fmt.Sprintf(`{"id":%q,"name":"secret","pool":"gold","size_bytes":4096,`+
		`"encryption":"aes-256-xts"}`, apitest.UUID(79)))
	ok(204, "DELETE", "/v1/volumes/"+apitest.UUID(79).String()+"?erase=true", "")
	ok(200, "GET", "/v1/tasks/erase-"+apitest.UUID(79).String(), "")
}

// boundOverHTTP bounds a pool and a volume of it.
func (w *world) boundOverHTTP(ok func(int, string, string, string, ...string) reply) {
	v := w.Volume(77, "bounded")
	ok(200, "PUT", "/v1/pools/gold/qos", `{"total":{"iops":1000},"per_volume":{"bytes_per_second":1048576}}`)
	ok(200, "GET", "/v1/pools/gold", "")
	ok(200, "PUT", "/v1/volumes/"+v.ID.String()+"/qos", `{"iops":100,"burst_ms":50}`)
	ok(200, "GET", "/v1/volumes/"+v.ID.String(), "")
	ok(200, "DELETE", "/v1/volumes/"+v.ID.String()+"/qos", "")
}
