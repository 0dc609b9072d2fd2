// Package keystonetest is Keystone as far as tokens go, for tests of those who ask it: identity API v3 over
// real HTTP, with Keystone's rules, words and statuses, and a switch to break it.
package keystonetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Password of the service user ashlar, in project service; both in domain Default.
const Password = "correct horse"

// Identity is Keystone: it lets one service user in, describes tokens to who has a valid one, and answers in
// Keystone's words and statuses.
type Identity struct {
	*httptest.Server
	now func() time.Time

	mu     sync.Mutex
	tokens map[string]map[string]any // by secret: the member "token" of the answer
	Broken atomic.Bool               // answers 503 to everything
	Logins atomic.Int32              // of the service user that succeeded
	Asked  atomic.Int32              // about tokens
}

// New starts it until the test ends; now is its clock.
func New(t testing.TB, now func() time.Time) *Identity {
	k := &Identity{now: now, tokens: make(map[string]map[string]any)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", k.login)
	mux.HandleFunc("GET /v3/auth/tokens", k.describe)
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k.Broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(k.Close)
	return k
}

func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"title":%q,"message":"no"}}`, status, http.StatusText(status))
}

// UserID is the id of the user whose token that is.
func UserID(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:8])
}

// Issue makes a token; more are members of its description.
func (k *Identity) Issue(secret string, life time.Duration, more map[string]any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := map[string]any{"methods": []string{"password"}, "issued_at": k.now().UTC().Format(time.RFC3339),
		"expires_at": k.now().Add(life).UTC().Format("2006-01-02T15:04:05.000000Z"),
		"user": map[string]any{"id": UserID(secret), "name": "name of " + UserID(secret),
			"domain": map[string]any{"id": "default", "name": "Default"}}}
	for name, value := range more {
		d[name] = value
	}
	k.tokens[secret] = d
}

// Revoke ends a token.
func (k *Identity) Revoke(secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.tokens, secret)
}

// valid is the description of a token that is known and not over.
func (k *Identity) valid(secret string) (map[string]any, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, ok := k.tokens[secret]
	if !ok {
		return nil, false
	}
	end, err := time.Parse(time.RFC3339Nano, d["expires_at"].(string))
	return d, err == nil && k.now().Before(end)
}

func (k *Identity) login(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Auth struct {
			Identity struct {
				Methods  []string
				Password struct {
					User struct {
						Name, Password string
						Domain         struct{ Name string }
					}
				}
			}
			Scope struct {
				Project struct {
					Name   string
					Domain struct{ Name string }
				}
			}
		}
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	user, project := body.Auth.Identity.Password.User, body.Auth.Scope.Project
	if user.Name != "ashlar" || user.Password != Password || user.Domain.Name != "Default" ||
		project.Name != "service" || project.Domain.Name != "Default" {
		refuse(w, http.StatusUnauthorized)
		return
	}
	secret := fmt.Sprintf("service-%d", k.Logins.Add(1))
	k.Issue(secret, time.Hour, Scoped("service", "service"))
	d, _ := k.valid(secret)
	w.Header().Set("X-Subject-Token", secret)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": d})
}

func (k *Identity) describe(w http.ResponseWriter, r *http.Request) {
	if _, ok := k.valid(r.Header.Get("X-Auth-Token")); !ok {
		refuse(w, http.StatusUnauthorized)
		return
	}
	k.Asked.Add(1)
	d, ok := k.valid(r.Header.Get("X-Subject-Token"))
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"token": d})
}

// Scoped is what a token has that is scoped to a project.
func Scoped(project string, roles ...string) map[string]any {
	return map[string]any{"roles": RolesOf(roles...), "project": map[string]any{"id": project,
		"name": "name of " + project, "domain": map[string]any{"id": "default", "name": "Default"}}}
}

// System is what a token has that is scoped to the system.
func System(all bool, roles ...string) map[string]any {
	return map[string]any{"system": map[string]any{"all": all}, "roles": RolesOf(roles...)}
}

// RolesOf lists roles as a token has them.
func RolesOf(names ...string) []map[string]any {
	out := []map[string]any{}
	for _, n := range names {
		out = append(out, map[string]any{"id": "id of " + n, "name": n})
	}
	return out
}
