package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestEveryOperation walks a cluster from its first node to its last volume and makes every documented call
// succeed at least once. The contract checks each answer on the way.
func TestEveryOperation(t *testing.T) {
	w := newWorld(t)
	ok := func(want int, method, path, body string, headers ...string) reply {
		t.Helper()
		r := w.call(method, path, body, headers...)
		if r.status != want {
			t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, want, r.body)
		}
		return r
	}
	for _, path := range []string{"/v1/health", "/v1/version"} {
		ok(200, "GET", path, "", "Authorization", "")
	}
	for _, path := range []string{"/v1/openapi.json", "/v1/openapi.yaml", "/v1/health/detail", "/v1/cluster"} {
		ok(200, "GET", path, "")
	}
	w.joinOverHTTP(ok)
	ok(201, "POST", "/v1/devices", `{"node":1,"path":"/dev/nvme0n1"}`)
	again := ok(200, "POST", "/v1/devices", `{"node":1,"path":"/dev/nvme0n1"}`)
	var dev wire.Device
	again.into(t, &dev)
	ok(200, "GET", fmt.Sprintf("/v1/devices/%d", dev.Number), "")
	ok(200, "POST", fmt.Sprintf("/v1/devices/%d/scrub", dev.Number), `{"action":"start","interval_seconds":60}`)
	w.Device(2, 1)
	ok(200, "GET", "/v1/devices?node=1&limit=1", "")

	ok(201, "POST", "/v1/pools", `{"name":"gold","parity":1}`)
	ok(200, "POST", "/v1/pools", `{"name":"gold","parity":1,"code":"replica"}`)
	ok(200, "GET", "/v1/pools", "")
	ok(200, "GET", "/v1/pools/gold", "")
	w.Device(2, 2)
	ok(200, "POST", "/v1/pools/gold/changes", `{"kind":"add","devices":[3]}`)
	ok(200, "GET", "/v1/pools/gold/balance", "")
	ok(200, "PATCH", "/v1/devices/3", `{"state":"failed"}`)

	body := `{"name":"volume-1","pool":"gold","size_bytes":1048576,"metadata":{"a":"b"}}`
	r := ok(201, "POST", "/v1/volumes", body, "Idempotency-Key", "k1")
	if r.header.Get("Location") == "" || r.header.Get("ETag") == "" {
		t.Errorf("create answered without Location or ETag: %v", r.header)
	}
	var vol wire.Volume
	r.into(t, &vol)
	at := "/v1/volumes/" + vol.ID.String()
	r = ok(201, "POST", "/v1/volumes", body, "Idempotency-Key", "k1")
	r = ok(200, "PATCH", at, `{"size_bytes":2097152}`, "If-Match", r.header.Get("ETag"))
	ok(200, "GET", at, "")
	ok(200, "GET", "/v1/volumes?name=volume-1&pool=gold&health=ok&metadata=a=b&host="+apitest.HostA, "")
	w.observed(ok, dev.Number, at)
	ok(201, "PUT", at+"/exports/"+apitest.HostA, "")
	ok(200, "PUT", at+"/exports/"+apitest.HostA, "")
	ok(200, "GET", at+"/exports/"+url.PathEscape(apitest.HostA), "")
	ok(200, "GET", at+"/exports?limit=1", "")
	ok(204, "DELETE", at+"/exports/"+apitest.HostA, "")
	ok(204, "DELETE", at+"/exports", "")
	w.snapshotsOverHTTP(ok, vol.ID)
	w.groupsOverHTTP(ok, vol.ID)
	w.schedulesOverHTTP(ok, vol.ID)
	ok(204, "DELETE", at, "", "If-Match", "*")
	if r.header.Get("ETag") == "" {
		t.Error("no ETag after a resize")
	}

	w.tasksOverHTTP(ok)
	w.policies(ok)
	w.credentials(ok)
	ok(200, "GET", "/v1/events?kind=volume&limit=3", "")

	w.wantAllSeen()
	w.Audit()
}

// credentials makes the calls about projects and tokens.
func (w *world) credentials(ok func(int, string, string, string, ...string) reply) {
	w.T.Helper()
	ok(201, "PUT", "/v1/projects/acme", `{"volumes":3,"bytes":1048576}`)
	ok(200, "PUT", "/v1/projects/acme", `{"volumes":3}`)
	ok(200, "GET", "/v1/projects/acme", "")
	ok(200, "GET", "/v1/projects?limit=1", "")
	ok(200, "GET", "/v1/nodes/1/audit?limit=5", "")

	var token wire.Token
	ok(201, "POST", "/v1/tokens", `{"name":"ci","role":"admin"}`).into(w.T, &token)
	ok(200, "GET", "/v1/tokens", "")
	ok(200, "GET", "/v1/tokens/"+token.ID.String(), "")
	ok(204, "DELETE", "/v1/tokens/"+token.ID.String(), "")
}

// joinOverHTTP adds node 2 as the node itself would: with a join token and nothing else.
func (w *world) joinOverHTTP(ok func(int, string, string, string, ...string) reply) {
	w.T.Helper()
	var token wire.Token
	r := ok(201, "POST", "/v1/tokens", `{"name":"for node 2","role":"join","expires_in_seconds":60}`)
	r.into(w.T, &token)
	body := `{"token":"` + token.Secret + `","uuid":"` + apitest.UUID(2).String() + `","name":"node2",
		"addresses":{"host":"192.0.2.2:4420","discovery":"192.0.2.2:8009","peer":"192.0.2.2:4421",
		"rest":"http://192.0.2.2:7443"},
		"domain":"az1/rack2","etcd_peer_url":"http://192.0.2.2:2380"}`
	var first, second wire.JoinResult
	ok(201, "POST", "/v1/join", body, "Authorization", "").into(w.T, &first)
	ok(200, "POST", "/v1/join", body, "Authorization", "").into(w.T, &second)
	if first.Node != 2 || second.Node != 2 || first.Etcd.Member == nil || len(first.ClusterSecret) != 32 {
		w.T.Errorf("joined as %+v, then %+v", first, second)
	}
}

// TestRefusals is bad input of every kind: what is asked, and the status, code and field that must come
// back. None of it may change a record.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	vol := w.Volume(1, "taken")
	w.allow(vol.ID, apitest.HostA)
	v := "/v1/volumes/" + vol.ID.String()
	w.call("GET", v, "") // the token's first use is kept in its record
	before := w.records()
	for _, c := range refusals(v) {
		t.Run(c.name, func(t *testing.T) {
			r := w.call(c.method, c.path, c.body, c.headers...)
			if r.status != c.status || r.problem.Code != c.code || r.problem.Field != c.field {
				t.Errorf("%s %s: got %d %s field %q (%s)\nwant %d %s field %q", c.method, c.path, r.status,
					r.problem.Code, r.problem.Field, r.problem.Detail, c.status, c.code, c.field)
			}
			if strings.Contains(string(r.body), "goroutine") || r.problem.Detail == "" {
				t.Errorf("problem for nobody: %s", r.body)
			}
		})
	}
	if after := w.records(); before != after {
		t.Errorf("refused calls changed records:\n%s\nwas\n%s", after, before)
	}
}

type refusal struct {
	name         string
	method, path string
	body         string
	headers      []string
	status       int
	code         wire.Code
	field        string
}

// refusals is the table; v is the path of a volume "taken" in pool "gold", exported to HostA.
func refusals(v string) []refusal {
	return slices.Concat(refusedAsking(v), refusedForms(v), refusedValues(v), refusedChanging(v),
		refusedExporting(v), refusedPooling(v), refusedMembers(v), refusedAdding(v), refusedCredentials(v))
}

const (
	volumes = "/v1/volumes"
	pools   = "/v1/pools"
	none    = "01000000-0000-0000-0000-000000000000" // the id of nothing
	field   = wire.InvalidField
	bad     = wire.BadRequest
)

func create(fields string) string {
	return `{"name":"n","pool":"gold","size_bytes":4096` + fields + `}`
}

func sized(size string) string { return `{"name":"n","pool":"gold","size_bytes":` + size + `}` }

func named(name string) string { return `{"name":"` + name + `","pool":"gold","size_bytes":4096}` }

// refusedAsking: who asks, and where.
func refusedAsking(v string) []refusal {
	return []refusal{
		{"no token", "GET", volumes, "", []string{"Authorization", ""}, 401, wire.Unauthenticated, "Authorization"},
		{"basic auth", "GET", volumes, "", []string{"Authorization", "Basic YTpi"}, 401, wire.Unauthenticated,
			"Authorization"},
		{"wrong token", "GET", volumes, "", []string{"Authorization", "Bearer x"}, 401, wire.Unauthenticated, ""},
		{"no such path", "GET", "/v1/nothing", "", nil, 404, wire.NotFound, ""},
		{"path outside", "GET", "/", "", nil, 404, wire.NotFound, ""},
		{"trailing slash", "GET", "/v1/volumes/", "", nil, 404, wire.NotFound, ""},
		{"wrong method", "PUT", volumes, "", nil, 405, wire.MethodNotAllowed, ""},
		{"unknown query", "GET", volumes + "?nmae=x", "", nil, 400, field, "nmae"},
		{"unknown field", "GET", v + "?fields=name,szie", "", nil, 400, field, "fields"},
		{"no field", "GET", volumes + "?fields=name,", "", nil, 400, field, "fields"},
		{"fields of what is no resource", "GET", "/v1/version?fields=api", "", nil, 400, field, "fields"},
		{"doubled query", "GET", volumes + "?name=x&name=y", "", nil, 400, field, "name"},
		{"empty query", "GET", volumes + "?pool=", "", nil, 400, field, "pool"},
		{"limit 0", "GET", volumes + "?limit=0", "", nil, 400, field, "limit"},
		{"limit large", "GET", volumes + "?limit=1001", "", nil, 400, field, "limit"},
		{"limit word", "GET", volumes + "?limit=ten", "", nil, 400, field, "limit"},
		{"foreign cursor", "GET", volumes + "?cursor=bm9kZXM6MQ", "", nil, 400, field, "cursor"},
		{"garbled cursor", "GET", "/v1/nodes?cursor=%00", "", nil, 400, field, "cursor"},
		{"cursor no number", "GET", "/v1/nodes?cursor=bm9kZXM6eA", "", nil, 400, field, "cursor"},
		{"query on a call without", "DELETE", v + "?force=1", "", nil, 400, field, "force"},
	}
}

// refusedForms: bodies that are not what JSON for this API looks like.
func refusedForms(_ string) []refusal {
	return []refusal{
		{"no content type", "POST", volumes, sized("4096"), []string{"Content-Type", ""}, 415,
			wire.UnsupportedMediaType, "Content-Type"},
		{"form", "POST", volumes, "name=n", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415,
			wire.UnsupportedMediaType, "Content-Type"},
		{"empty body", "POST", volumes, "", []string{"Content-Type", "application/json"}, 400, bad, ""},
		{"truncated", "POST", volumes, `{"name":"n","pool"`, nil, 400, bad, ""},
		{"no JSON", "POST", volumes, `{name:1}`, nil, 400, bad, ""},
		{"a list", "POST", volumes, `[{"name":"n"}]`, nil, 400, bad, ""},
		{"a number", "POST", volumes, `7`, nil, 400, bad, ""},
		{"a string", "POST", volumes, `"volume"`, nil, 400, bad, ""},
		{"null", "POST", volumes, `null`, nil, 400, bad, ""},
		{"trailing", "POST", volumes, create("") + "{}", nil, 400, bad, ""},
		{"huge body", "POST", volumes, create(`,"x":"` + strings.Repeat("x", 1<<20) + `"`), nil, 413,
			wire.BodyTooLarge, ""},
		{"deep body", "POST", volumes, strings.Repeat(`{"metadata":`, 40), nil, 400, bad,
			"metadata" + strings.Repeat(".metadata", 16)},
		{"deep list", "POST", volumes, `{"metadata":` + strings.Repeat("[", 40), nil, 400, bad,
			"metadata" + strings.Repeat("[0]", 16)},
		{"unknown field", "POST", volumes, create(`,"szie":1`), nil, 400, field, "szie"},
		{"field in other case", "POST", volumes, create(`,"Name":"m"`), nil, 400, field, "Name"},
		{"doubled field", "POST", volumes, create(`,"name":"m"`), nil, 400, field, "name"},
		{"null field", "POST", volumes, sized("null"), nil, 400, field, "size_bytes"},
		{"string for a number", "POST", volumes, sized(`"4096"`), nil, 400, field, "size_bytes"},
		{"fraction", "POST", volumes, sized("4096.5"), nil, 400, field, "size_bytes"},
		{"negative", "POST", volumes, sized("-4096"), nil, 400, field, "size_bytes"},
		{"beyond 64 bits", "POST", volumes, sized("99999999999999999999"), nil, 400, field, "size_bytes"},
		{"number for a string", "POST", volumes, `{"name":5,"pool":"gold"}`, nil, 400, field, "name"},
		{"object for a string", "POST", volumes, `{"name":{"a":1}}`, nil, 400, field, "name"},
		{"nested type", "POST", volumes, create(`,"metadata":{"a":1}`), nil, 400, field, "metadata.a"},
	}
}

// refusedValues: fields of a new volume.
func refusedValues(v string) []refusal {
	return []refusal{
		{"size 0", "POST", volumes, sized("0"), nil, 400, field, "size_bytes"},
		{"size no multiple", "POST", volumes, sized("4097"), nil, 400, field, "size_bytes"},
		{"size too large", "POST", volumes, sized("1125899906846720000"), nil, 400, field, "size_bytes"},
		{"size missing", "POST", volumes, `{"name":"n","pool":"gold"}`, nil, 400, field, "size_bytes"},
		{"name missing", "POST", volumes, `{"pool":"gold","size_bytes":4096}`, nil, 400, field, "name"},
		{"name with slash", "POST", volumes, named("a/b"), nil, 400, field, "name"},
		{"name with blank", "POST", volumes, named("a b"), nil, 400, field, "name"},
		{"name too long", "POST", volumes, named(strings.Repeat("n", 129)), nil, 400, field, "name"},
		{"pool missing", "POST", volumes, `{"name":"n","size_bytes":4096}`, nil, 400, field, "pool"},
		{"pool unknown", "POST", volumes, `{"name":"n","pool":"tin","size_bytes":4096}`, nil, 400, field, "pool"},
		{"id no UUID", "POST", volumes, create(`,"id":"7"`), nil, 400, field, "id"},
		{"key with blank", "POST", volumes, create(""), []string{"Idempotency-Key", "a b"}, 400, field,
			"Idempotency-Key"},
		{"name taken", "POST", volumes, named("taken"), nil, 409, wire.Conflict, "name"},
		{"id taken", "POST", volumes, create(`,"id":"` + strings.TrimPrefix(v, volumes+"/") + `"`), nil, 409,
			wire.Conflict, "id"},
	}
}

// refusedChanging: volumes that exist, or not.
func refusedChanging(v string) []refusal {
	return []refusal{
		{"shrink", "PATCH", v, `{"size_bytes":4096}`, nil, 409, wire.ShrinkNotAllowed, "size_bytes"},
		{"resize to odd", "PATCH", v, `{"size_bytes":16777217}`, nil, 400, field, "size_bytes"},
		{"resize nothing", "PATCH", volumes + "/" + none, `{"size_bytes":4096}`, nil, 404, wire.NotFound, ""},
		{"resize to nothing", "PATCH", v, `{"size_bytes":0}`, nil, 400, field, "size_bytes"},
		{"rename to no name", "PATCH", v, `{"name":"a/b"}`, nil, 400, field, "name"},
		{"rename to nothing", "PATCH", v, `{"name":""}`, nil, 400, field, "name"},
		{"null name", "PATCH", v, `{"name":null}`, nil, 400, field, "name"},
		{"long description", "PATCH", v, `{"description":"` + strings.Repeat("x", 256) + `"}`, nil, 400, field,
			"description"},
		{"metadata no text", "PATCH", v, `{"metadata":{"a":1}}`, nil, 400, field, "metadata.a"},
		{"metadata no object", "PATCH", v, `{"metadata":["a"]}`, nil, 400, field, "metadata"},
		{"metadata without key", "PATCH", v, `{"metadata":{"":"a"}}`, nil, 400, field, "metadata"},
		{"another pool", "PATCH", v, `{"pool":"tin"}`, nil, 400, field, "pool"},
		{"another id", "PATCH", v, `{"id":"` + none + `"}`, nil, 400, field, "id"},
		{"another VUID", "PATCH", v, `{"vuid":7}`, nil, 400, field, "vuid"},
		{"other hosts", "PATCH", v, `{"hosts":[]}`, nil, 400, field, "hosts"},
		{"shrink with a rename", "PATCH", v, `{"name":"m","size_bytes":4096}`, nil, 409, wire.ShrinkNotAllowed,
			"size_bytes"},
		{"precondition where none is", "POST", volumes, create(""), []string{"If-Match", `"1"`}, 400, field,
			"If-Match"},
		{"empty precondition", "DELETE", v, "", []string{"If-Match", " "}, 400, field, "If-Match"},
		{"empty precondition where none is", "POST", volumes, create(""), []string{"If-Match", " "}, 400, field,
			"If-Match"},
		{"empty key", "POST", volumes, create(""), []string{"Idempotency-Key", " "}, 400, field, "Idempotency-Key"},
		{"fail by old ETag", "PATCH", "/v1/devices/1", `{"state":"failed"}`, []string{"If-Match", `"1"`}, 412,
			wire.PreconditionFailed, "If-Match"},
		{"scrub by old ETag", "POST", "/v1/devices/1/scrub", `{"action":"start"}`, []string{"If-Match", `"1"`}, 412,
			wire.PreconditionFailed, "If-Match"},
		{"change a pool by old ETag", "POST", pools + "/gold/changes", `{"kind":"remove","devices":[1]}`,
			[]string{"If-Match", `"1"`}, 412, wire.PreconditionFailed, "If-Match"},
		{"export by old ETag", "PUT", v + "/exports/" + apitest.HostB, "", []string{"If-Match", `"1"`}, 412,
			wire.PreconditionFailed, "If-Match"},
		{"unexport by old ETag", "DELETE", v + "/exports/" + apitest.HostA, "", []string{"If-Match", `"1", "2"`},
			412, wire.PreconditionFailed, "If-Match"},
		{"old ETag", "PATCH", v, `{"size_bytes":33554432}`, []string{"If-Match", `"1"`}, 412,
			wire.PreconditionFailed, "If-Match"},
		{"weak ETag", "PATCH", v, `{"size_bytes":33554432}`, []string{"If-Match", `W/"1"`}, 412,
			wire.PreconditionFailed, "If-Match"},
		{"delete by old ETag", "DELETE", v, "", []string{"If-Match", `"1"`}, 412,
			wire.PreconditionFailed, "If-Match"},
		{"delete exported", "DELETE", v, "", nil, 409, wire.VolumeExported, ""},
		{"delete nothing", "DELETE", volumes + "/" + none, "", nil, 404, wire.NotFound, ""},
		{"show nothing", "GET", volumes + "/" + none, "", nil, 404, wire.NotFound, ""},
		{"show no UUID", "GET", volumes + "/7", "", nil, 404, wire.NotFound, ""},
	}
}

// refusedExporting: exports.
func refusedExporting(v string) []refusal {
	return []refusal{
		{"export to no NQN", "PUT", v + "/exports/host7", "", nil, 400, field, "host"},
		{"export to blank", "PUT", v + "/exports/nqn.2014-08.a%20b", "", nil, 400, field, "host"},
		{"export to a long NQN", "PUT", v + "/exports/nqn.2014-08." + strings.Repeat("x", 220), "", nil, 400, field,
			"host"},
		{"export of nothing", "PUT", volumes + "/" + none + "/exports/" + apitest.HostA, "", nil, 404,
			wire.NotFound, ""},
		{"unexport of nothing", "DELETE", volumes + "/" + none + "/exports", "", nil, 404, wire.NotFound, ""},
		{"exports by a foreign cursor", "GET", v + "/exports?cursor=x", "", nil, 400, field, "cursor"},
		{"volumes of no health", "GET", volumes + "?health=fine", "", nil, 400, field, "health"},
		{"volumes of no host", "GET", volumes + "?host=me", "", nil, 400, field, "host"},
		{"volumes by a pair without key", "GET", volumes + "?metadata=a,=b", "", nil, 400, field, "metadata"},
		{"snapshots of no host", "GET", "/v1/snapshots?host=me", "", nil, 400, field, "host"},
		{"show no export", "GET", v + "/exports/" + apitest.HostB, "", nil, 404, wire.NotFound, ""},
	}
}

// refusedPooling: pools.
func refusedPooling(_ string) []refusal {
	return []refusal{
		{"rs of the default shape", "POST", pools, `{"name":"p","code":"rs"}`, nil, 409, wire.NotEnoughDomains,
			"domain"},
		{"min_columns too few", "POST", pools, `{"name":"p","code":"rs","data":2,"parity":1,"min_columns":1}`, nil,
			400, field, "min_columns"},
		{"rs without the domains", "POST", pools, `{"name":"p","parity":2,"data":4,"code":"rs"}`, nil, 409,
			wire.NotEnoughDomains, "domain"},
		{"rs too wide", "POST", pools, `{"name":"p","parity":2,"data":17,"code":"rs"}`, nil, 400, field, "data"},
		{"rdp with one parity", "POST", pools, `{"name":"p","parity":1,"data":4,"code":"rdp"}`, nil, 400, field,
			"parity"},
		{"pool with nonsense", "POST", pools, `{"name":"p","parity":1,"code":"zip"}`, nil, 400, field, "code"},
		{"replica with 2 data", "POST", pools, `{"name":"p","parity":1,"data":2}`, nil, 400, field, "data"},
		{"parity 4", "POST", pools, `{"name":"p","parity":4}`, nil, 400, field, "parity"},
		{"parity -1", "POST", pools, `{"name":"p","parity":-1}`, nil, 400, field, "parity"},
		{"too few domains", "POST", pools, `{"name":"p","parity":2,"domain":"az"}`, nil, 409, wire.NotEnoughDomains,
			"domain"},
		{"unknown domain", "POST", pools, `{"name":"p","parity":1,"domain":"shelf"}`, nil, 400, field, "domain"},
		{"chunk no power", "POST", pools, `{"name":"p","parity":1,"chunk_size":100000}`, nil, 400, field,
			"chunk_size"},
		{"stripe too large", "POST", pools, `{"name":"p","parity":1,"stripe_unit":524288}`, nil, 400, field,
			"stripe_unit"},
		{"unknown device", "POST", pools, `{"name":"p","parity":1,"devices":[1,77]}`, nil, 400, field, "devices"},
		{"device twice", "POST", pools, `{"name":"p","parity":1,"devices":[1,1]}`, nil, 400, field, "devices"},
		{"other pool of that name", "POST", pools, `{"name":"gold","parity":0}`, nil, 409, wire.Conflict, "name"},
		{"a ratio below 1", "PATCH", pools + "/gold", `{"overcommit_ratio":0.5}`, nil, 400, field,
			"overcommit_ratio"},
		{"a ratio that is none", "POST", pools, `{"name":"p","overcommit_ratio":-3}`, nil, 400, field,
			"overcommit_ratio"},
		{"neither thin nor thick", "PATCH", pools + "/gold", `{"provisioning":"fat"}`, nil, 400, field,
			"provisioning"},
		{"more than the pool holds", "POST", volumes, `{"name":"n","pool":"gold","size_bytes":1099511627776,` +
			`"provisioning":"thick"}`, nil, 409, wire.PoolOvercommitted, ""},
		{"update no pool", "PATCH", pools + "/tin", `{"overcommit_ratio":2}`, nil, 404, wire.NotFound, ""},
		{"delete no pool", "DELETE", pools + "/tin", "", nil, 404, wire.NotFound, ""},
		{"delete a pool with a volume", "DELETE", pools + "/gold", "", nil, 409, wire.PoolNotEmpty, ""},
		{"delete a pool by old ETag", "DELETE", pools + "/gold", "", []string{"If-Match", `"1"`}, 412,
			wire.PreconditionFailed, "If-Match"},
		{"no such pool", "GET", pools + "/tin", "", nil, 404, wire.NotFound, ""},
		{"balance of no pool", "GET", pools + "/tin/balance", "", nil, 404, wire.NotFound, ""},
	}
}

// refusedMembers: changes of a pool's devices. Pool gold has devices 1 to 3, each the only one of its node.
func refusedMembers(_ string) []refusal {
	at := pools + "/gold/changes"
	return []refusal{
		{"change of no pool", "POST", pools + "/tin/changes", `{"kind":"remove","devices":[1]}`, nil, 404,
			wire.NotFound, ""},
		{"change of no kind", "POST", at, `{"kind":"swap","devices":[1]}`, nil, 400, field, "kind"},
		{"change without kind", "POST", at, `{"devices":[1]}`, nil, 400, field, "kind"},
		{"fail in one pool", "POST", at, `{"kind":"fail","devices":[1]}`, nil, 422, wire.NotSupported, "kind"},
		{"change of nothing", "POST", at, `{"kind":"remove","devices":[]}`, nil, 400, field, "devices"},
		{"change of one twice", "POST", at, `{"kind":"remove","devices":[1,1]}`, nil, 400, field, "devices"},
		{"add what is not there", "POST", at, `{"kind":"add","devices":[77]}`, nil, 400, field, "devices"},
		{"remove what is not there", "POST", at, `{"kind":"remove","devices":[77]}`, nil, 400, field, "devices"},
		{"weight 0", "POST", at, `{"kind":"reweight","devices":[1]}`, nil, 400, field, "weight"},
		{"weight too large", "POST", at, `{"kind":"reweight","devices":[1],"weight":16777217}`, nil, 400, field,
			"weight"},
		{"remove with a weight", "POST", at, `{"kind":"remove","devices":[1],"weight":3}`, nil, 400, field,
			"weight"},
		{"remove too many", "POST", at, `{"kind":"remove","devices":[1,2]}`, nil, 409, wire.NotEnoughDomains,
			"domain"},
		{"device back to online", "PATCH", "/v1/devices/1", `{"state":"online"}`, nil, 400, field, "state"},
		{"remove a device in use", "PATCH", "/v1/devices/1", `{"state":"removed"}`, nil, 409, wire.Conflict,
			"state"},
		{"scrub how", "POST", "/v1/devices/1/scrub", `{"action":"now"}`, nil, 400, field, "action"},
		{"scrub without a wish", "POST", "/v1/devices/1/scrub", `{}`, nil, 400, field, "action"},
		{"scrub after ten years", "POST", "/v1/devices/1/scrub", `{"interval_seconds":315360001}`, nil, 400, field,
			"interval_seconds"},
		{"scrub no device", "POST", "/v1/devices/77/scrub", `{"action":"pause"}`, nil, 404, wire.NotFound, ""},
		{"fail no device", "PATCH", "/v1/devices/77", `{"state":"failed"}`, nil, 404, wire.NotFound, ""},
	}
}

// refusedAdding: devices and nodes.
func refusedAdding(_ string) []refusal {
	return []refusal{
		{"device without node", "POST", "/v1/devices", `{"path":"/dev/x"}`, nil, 400, field, "node"},
		{"device of no node", "POST", "/v1/devices", `{"node":9,"path":"/dev/x"}`, nil, 400, field, "node"},
		{"relative path", "POST", "/v1/devices", `{"node":1,"path":"dev/x"}`, nil, 400, field, "path"},
		{"foreign data", "POST", "/v1/devices", `{"node":1,"path":"/foreign/x"}`, nil, 409, wire.Conflict, "path"},
		{"device number word", "GET", "/v1/devices/x", "", nil, 404, wire.NotFound, ""},
		{"device unknown", "GET", "/v1/devices/77", "", nil, 404, wire.NotFound, ""},
		{"devices of node x", "GET", "/v1/devices?node=x", "", nil, 400, field, "node"},
		{"node unknown", "GET", "/v1/nodes/77", "", nil, 404, wire.NotFound, ""},
	}
}

// refusedCredentials: tokens and joins.
func refusedCredentials(_ string) []refusal {
	return []refusal{
		{"token without name", "POST", "/v1/tokens", `{"role":"admin"}`, nil, 400, field, "name"},
		{"token of no role", "POST", "/v1/tokens", `{"name":"n","role":"king"}`, nil, 400, field, "role"},
		{"token for ages", "POST", "/v1/tokens", `{"name":"n","role":"join","expires_in_seconds":999999999999}`,
			nil, 400, field, "expires_in_seconds"},
		{"tenant of no project", "POST", "/v1/tokens", `{"name":"n","role":"tenant"}`, nil, 400, field, "project"},
		{"admin of a project", "POST", "/v1/tokens", `{"name":"n","role":"admin","project":"p"}`, nil, 400, field,
			"project"},
		{"tenant of an odd project", "POST", "/v1/tokens", `{"name":"n","role":"tenant","project":"a/b"}`, nil, 400,
			field, "project"},
		{"quota of an odd project", "PUT", "/v1/projects/a%2Fb", `{}`, nil, 400, field, "project"},
		{"quota below 0", "PUT", "/v1/projects/acme", `{"volumes":-1}`, nil, 400, field, "volumes"},
		{"quota beyond 63 bits", "PUT", "/v1/projects/acme", `{"bytes":9223372036854775808}`, nil, 400, field,
			"bytes"},
		{"no such project", "GET", "/v1/projects/acme", "", nil, 404, wire.NotFound, ""},
		{"volume of an odd project", "POST", volumes, create(`,"project":"a b"`), nil, 400, field, "project"},
		{"token unknown", "DELETE", "/v1/tokens/" + none, "", nil, 404, wire.NotFound, ""},
		{"join without token", "POST", "/v1/join", `{"name":"n"}`, []string{"Authorization", ""}, 401,
			wire.Unauthenticated, ""},
		{"join field", "POST", "/v1/join", `{"addresses":{"hots":"x"}}`, nil, 400, field, "addresses.hots"},
	}
}

// records is everything in the store, to compare.
func (w *world) records() string {
	w.T.Helper()
	snap := w.dump()
	return strings.Join(snap, "\n")
}

func TestLastAdminTokenStays(t *testing.T) {
	w := newWorld(t)
	var list wire.Page[wire.Token]
	w.call("GET", "/v1/tokens", "").into(t, &list)
	first := "/v1/tokens/" + list.Items[0].ID.String()
	w.call("POST", "/v1/tokens", `{"name":"short","role":"admin","expires_in_seconds":5}`)
	if r := w.call("DELETE", first, ""); r.status != 409 || r.problem.Code != wire.LastAdminToken {
		t.Errorf("revoking the last lasting admin token: %d %s", r.status, r.body)
	}
	var other wire.Token
	w.call("POST", "/v1/tokens", `{"name":"other","role":"admin"}`).into(t, &other)
	if r := w.call("DELETE", first, ""); r.status != 204 {
		t.Errorf("revoking one of two: %d %s", r.status, r.body)
	}
	if r := w.call("GET", "/v1/tokens", ""); r.status != 401 {
		t.Errorf("the revoked token still passes: %d", r.status)
	}
	if r := w.call("GET", "/v1/tokens", "", "Authorization", "Bearer "+other.Secret); r.status != 200 {
		t.Errorf("the other token does not pass: %d", r.status)
	}
}

func TestDeleteNamesTheHosts(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	v := "/v1/volumes/" + w.Volume(1, "v").ID.String()
	for _, h := range []string{apitest.HostB, apitest.HostA} {
		w.call("PUT", v+"/exports/"+h, "")
	}
	r := w.call("DELETE", v, "")
	if fmt.Sprint(r.problem.Hosts) != fmt.Sprint([]string{apitest.HostA, apitest.HostB}) {
		t.Errorf("got %s", r.body)
	}
	if r := w.call("DELETE", v+"/exports", ""); r.status != 204 {
		t.Errorf("unexport: %s", r.body)
	}
	if r := w.call("DELETE", v, ""); r.status != 204 {
		t.Errorf("delete: %s", r.body)
	}
	if r := w.call("GET", v, ""); r.status != 404 {
		t.Errorf("show: %s", r.body)
	}
}

func TestRequestID(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 129)
	for sent, kept := range map[string]bool{"req-17": true, long: false, "": false, "a\tb": false} {
		got := w.call("GET", "/v1/health", "", "X-Request-Id", sent).header.Get("X-Request-Id")
		if (got == sent) != kept || got == "" {
			t.Errorf("sent %q, got %q", sent, got)
		}
	}
}

func TestHostWithOddCharacters(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	v := "/v1/volumes/" + w.Volume(1, "v").ID.String()
	for _, host := range []string{"nqn.2014-08.org:a/b", "nqn.2014-08.org:a+b", "nqn.2014-08.org:100%25"} {
		r := w.call("PUT", v+"/exports/"+url.PathEscape(host), "")
		var e wire.Export
		r.into(t, &e)
		if e.Host != host {
			t.Errorf("exported to %q, want %q", e.Host, host)
		}
		if r := w.call("GET", r.header.Get("Location"), ""); r.status != 200 {
			t.Errorf("Location of %q: %d", host, r.status)
		}
	}
}

// TestDeviceOfAnotherNode: any node takes the call, the one that has the path does the work.
func TestDeviceOfAnotherNode(t *testing.T) {
	w := newWorld(t)
	w.Join(2)
	_, url2 := w.Serve(2)
	a := apitest.Node(2).Addresses
	body := `{"node":2,"path":"/dev/sda"}`
	if r := w.call("POST", "/v1/devices", body); r.status != 503 || r.problem.Field != "node" {
		t.Errorf("the other node is away: %d %s", r.status, r.body)
	}
	a.REST = url2
	if err := w.Manager.UpdateAddresses(t.Context(), 2, a); err != nil {
		t.Fatal(err)
	}
	r := w.call("POST", "/v1/devices", body)
	if r.status != http.StatusCreated || r.header.Get("Location") != "/v1/devices/1" {
		t.Errorf("forwarded: %d %v %s", r.status, r.header, r.body)
	}
	if r := w.call("POST", "/v1/devices", body); r.status != 200 {
		t.Errorf("repeated: %d %s", r.status, r.body)
	}
	if r := w.call("POST", "/v1/devices", `{"node":2,"path":"/foreign/x"}`); r.status != 409 {
		t.Errorf("refusal of the other node: %d %s", r.status, r.body)
	}
	if r := w.callAt(w.URL, "POST", "/v1/devices", body, "Ashlar-Forwarded-By", "3"); r.status != 503 {
		t.Errorf("forwarded in a circle: %d %s", r.status, r.body)
	}
	w.Audit()
}
