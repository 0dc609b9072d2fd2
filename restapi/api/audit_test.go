package api_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/keystone"
	"github.com/ashlar-storage/ashlar/restapi/keystone/keystonetest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// auditOf lists the records of a node, newest first.
func (w *world) auditOf(node string) []wire.AuditRecord {
	w.T.Helper()
	var p wire.Page[wire.AuditRecord]
	w.call("GET", "/v1/nodes/"+node+"/audit?limit=1000", "").into(w.T, &p)
	return p.Items
}

// TestAuditNamesWhoDidWhat: changes and refusals are there, with who, what and how it ended; looking is not.
func TestAuditNamesWhoDidWhat(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	acme := w.token(auth.Tenant, "acme")
	var v wire.Volume
	w.as(acme, "POST", volumes, named("disk"), "X-Request-Id", "req-1").into(t, &v)
	at := volumes + "/" + v.ID.String()
	w.as(acme, "GET", at, "")
	w.as(acme, "POST", "/v1/tokens", `{"name":"n","role":"admin"}`)
	w.call("DELETE", at, "", "Authorization", "")
	w.call("DELETE", at, "", "X-Request-Id", "req-4")
	got := w.auditOf("1")
	want := []wire.AuditRecord{
		{Number: 4, RequestID: "req-4", Name: "bootstrap", Role: "admin", Action: "DELETE /v1/volumes/:volume",
			Subject: at, Status: 204},
		{Number: 3, Action: "DELETE /v1/volumes/:volume", Subject: at, Status: 401, Code: wire.Unauthenticated},
		{Number: 2, Name: "tenant", Role: "tenant", Project: "acme", Action: "POST /v1/tokens",
			Subject: "/v1/tokens", Status: 403, Code: wire.Forbidden},
		{Number: 1, RequestID: "req-1", Name: "tenant", Role: "tenant", Project: "acme",
			Action: "POST /v1/volumes", Subject: at, Status: 201},
	}
	if len(got) != len(want) {
		t.Fatalf("%d records: %+v", len(got), got)
	}
	for i, r := range got {
		if who := r.Caller != ""; who != (want[i].Status != 401) || r.From == "" || r.Time == "" {
			t.Errorf("incomplete: %+v", r)
		}
		r.Caller, r.From, r.Time = "", "", ""
		if want[i].RequestID == "" {
			r.RequestID = ""
		}
		if r != want[i] {
			t.Errorf("got  %+v\nwant %+v", r, want[i])
		}
	}
	var p wire.Page[wire.AuditRecord]
	w.call("GET", "/v1/nodes/1/audit?limit=3", "").into(t, &p)
	first := p.Next
	var rest wire.Page[wire.AuditRecord]
	w.call("GET", "/v1/nodes/1/audit?limit=3&cursor="+first, "").into(t, &rest)
	if first != "2" || len(rest.Items) != 1 || rest.Next != "" {
		t.Errorf("pages: %q, then %+v", first, rest)
	}
	if r := w.call("GET", "/v1/nodes/1/audit?cursor=x", ""); r.status != 400 || r.problem.Field != "cursor" {
		t.Errorf("an odd cursor: %d", r.status)
	}
}

// TestAuditOfAnotherNode: any node tells what another one served.
func TestAuditOfAnotherNode(t *testing.T) {
	w := newWorld(t)
	w.Join(2)
	_, url2 := w.Serve(2)
	if r := w.call("GET", "/v1/nodes/2/audit", ""); r.status != 503 {
		t.Errorf("while it is away: %d %s", r.status, r.body)
	}
	a := apitest.Node(2).Addresses
	a.REST = url2
	if err := w.Manager.UpdateAddresses(t.Context(), 2, a); err != nil {
		t.Fatal(err)
	}
	w.callAt(url2, "PUT", "/v1/projects/acme", `{}`)
	if got := w.auditOf("2"); len(got) != 1 || got[0].Subject != "/v1/projects/acme" {
		t.Errorf("got %+v", got)
	}
}

// TestAuditEveryChange: each route that may change something leaves one record, also when it is refused.
func TestAuditEveryChange(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	own := w.volumeOf("acme", 1, "v")
	count := 0
	for _, r := range api.Routes() {
		if r.Method == "GET" {
			continue
		}
		count++
		w.call(r.Method, concrete(r.Path, own, apitest.UUID(77).String()), "")
		if got := w.auditOf("1"); len(got) != count || got[0].Action != r.Method+" "+r.Path {
			t.Fatalf("%s %s: %d records, want %d", r.Method, r.Path, len(got), count)
		}
	}
}

// journal is a log to look into while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// TestNoSecretIsKept uses every kind of secret in every way, right and wrong, and looks for all of them in
// log, audit log and records.
func TestNoSecretIsKept(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	k := keystonetest.New(t, w.Now)
	var err error
	w.Others, err = keystone.New(keystone.Options{CacheFor: time.Minute, Now: w.Now,
		Roles: map[string]auth.Role{"member": auth.Tenant},
		Login: gophercloud.AuthOptions{IdentityEndpoint: k.URL, Username: "ashlar", DomainName: "Default",
			Password: keystonetest.Password, AllowReauth: true,
			Scope: &gophercloud.AuthScope{ProjectName: "service", DomainName: "Default"}}})
	if err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	w.Log = log
	_, w.URL = w.Serve(1)
	var made wire.Token
	w.call("POST", "/v1/tokens", `{"name":"t","role":"tenant","project":"acme"}`, "Idempotency-Key",
		"key-of-the-token").into(t, &made)
	w.as(made.Secret, "POST", volumes, named("disk"), "Idempotency-Key", "key-of-the-disk")
	w.as(made.Secret, "POST", "/v1/tokens", `{"name":"`+made.Secret+`x","role":"king"}`)
	w.call("DELETE", "/v1/tokens/"+made.Secret, "")
	w.call("GET", volumes+"/"+made.Secret, "")
	w.as(made.Secret+"x", "DELETE", volumes+"/"+apitest.UUID(1).String(), "")
	k.Issue("keystone-token-1", time.Hour, keystonetest.Scoped("p", "member"))
	w.as("keystone-token-1", "POST", volumes, named("disk"))
	w.as("keystone-token-2", "POST", volumes, named("disk"))
	k.Broken.Store(true)
	w.as("keystone-token-3", "POST", volumes, named("disk"))
	join := w.token(auth.Join, "")
	for _, token := range []string{join, join + "x"} {
		w.call("POST", "/v1/join", `{"token":"`+token+`","uuid":"`+apitest.UUID(9).String()+`","name":"node9",
			"addresses":{"host":"192.0.2.9:4420","discovery":"192.0.2.9:8009","peer":"192.0.2.9:4421",
			"rest":"http://192.0.2.9:7443"},"etcd_peer_url":"http://192.0.2.9:2380"}`)
	}
	secretOf := func(token string) string { return token[strings.LastIndex(token, ".")+1:] }
	secrets := map[string]string{"the admin's": secretOf(w.Token), "a tenant's": secretOf(made.Secret),
		"a join token's": secretOf(join), "Keystone's": "keystone-token-",
		"the service user's": keystonetest.Password, "an idempotency key": "key-of-the-"}
	trail, err := os.ReadFile(filepath.Join(w.AuditDir, "1", "audit.log"))
	if err != nil || !strings.Contains(string(trail), "POST /v1/join") ||
		!strings.Contains(log.String(), "/v1/join") {
		t.Fatalf("nothing to look into: %v", err)
	}
	for where, text := range map[string]string{"the log": log.String(), "the audit log": string(trail),
		"the records": w.records()} {
		for whose, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s secret is in %s:\n%s", whose, where, text)
			}
		}
	}
	inClear := base64.StdEncoding.EncodeToString(make([]byte, 32)) // the cluster's, kept for its nodes alone
	if strings.Contains(log.String()+string(trail), inClear) {
		t.Error("the cluster's secret is in a log")
	}
}
