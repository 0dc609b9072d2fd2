package barbican

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// twin is Keystone and Barbican as far as they are asked here: tokens that end, a catalogue, payloads of
// secrets.
type twin struct {
	*httptest.Server
	mu       sync.Mutex
	tokens   int
	valid    string
	password string
	secrets  map[string][]byte
	down     bool
}

func newTwin(t *testing.T) *twin {
	t.Helper()
	w := &twin{secrets: map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /identity/v3/auth/tokens", w.authenticate)
	mux.HandleFunc("GET /key-manager/{$}", w.versions)
	mux.HandleFunc("GET /key-manager/v1/secrets/{id}/payload", w.payload)
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	t.Setenv("OS_CLIENT_CONFIG_FILE", filepath.Join(t.TempDir(), "clouds.yaml"))
	w.password = "secret"
	w.configure(t, w.password)
	return w
}

// configure writes a clouds.yaml with a password.
func (w *twin) configure(t *testing.T, password string) {
	t.Helper()
	text := fmt.Sprintf("clouds:\n  here:\n    auth:\n      auth_url: %s/identity/v3\n      username: ashlar\n"+
		"      password: %s\n      project_name: service\n      user_domain_name: Default\n"+
		"      project_domain_name: Default\n    region_name: RegionOne\n", w.URL, password)
	if err := os.WriteFile(os.Getenv("OS_CLIENT_CONFIG_FILE"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *twin) authenticate(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	if !strings.Contains(body.String(), `"password":"`+w.password+`"`) || w.down {
		http.Error(out, `{"error":{"code":401}}`, http.StatusUnauthorized)
		return
	}
	w.tokens++
	w.valid = fmt.Sprint("token", w.tokens)
	out.Header().Set("X-Subject-Token", w.valid)
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(out, `{"token":{"expires_at":"2099-01-01T00:00:00.000000Z","issued_at":
		"2026-01-01T00:00:00.000000Z","methods":["password"],"catalog":[{"type":"key-manager","name":"barbican",
		"id":"1","endpoints":[{"id":"2","interface":"public","region":"RegionOne","region_id":"RegionOne",
		"url":"%s/key-manager"}]}]}}`, w.URL)
}

// versions is Barbican's document at its root, which comes with status 300.
func (w *twin) versions(out http.ResponseWriter, _ *http.Request) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(http.StatusMultipleChoices)
	_, _ = fmt.Fprintf(out, `{"versions":{"values":[{"id":"v1","status":"stable","updated":
		"2015-04-28T00:00:00Z","links":[{"rel":"self","href":"%s/key-manager/v1/"}]}]}}`, w.URL)
}

func (w *twin) payload(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	secret, ok := w.secrets[r.PathValue("id")]
	switch {
	case r.Header.Get("X-Auth-Token") != w.valid:
		http.Error(out, "Authentication required", http.StatusUnauthorized)
	case w.down:
		http.Error(out, "the secret is hunter2", http.StatusInternalServerError)
	case !ok:
		http.Error(out, `{"code": 404, "title": "Not Found"}`, http.StatusNotFound)
	case r.Header.Get("Accept") != "application/octet-stream":
		http.Error(out, `{"code": 406, "title": "Not Acceptable"}`, http.StatusNotAcceptable)
	default:
		out.Header().Set("Content-Type", "application/octet-stream")
		_, _ = out.Write(secret)
	}
}

const id = "5a7e3f4c-0000-4000-8000-000000000001"

func TestKeysOfBarbican(t *testing.T) {
	w := newTwin(t)
	raw := bytes.Repeat([]byte{7}, seal.ClusterKeySize)
	w.secrets[id], w.secrets["short"] = raw, raw[1:]
	s := New(Cloud("here"))
	want, err := seal.ClusterKeyFrom(raw)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := s.Key(t.Context(), id); err != nil || k != want {
		t.Fatalf("same key %v, %v", k == want, err)
	}
	w.mu.Lock()
	w.valid = "another" // the token has ended
	w.mu.Unlock()
	if k, err := s.Key(t.Context(), id); err != nil || k != want || w.tokens != 2 {
		t.Errorf("after the token ended: same key %v, %d tokens, %v", k == want, w.tokens, err)
	}
	if _, err := s.Key(t.Context(), "nothing"); !errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("no secret of that id: %v", err)
	}
	if _, err := s.Key(t.Context(), "short"); !errors.Is(err, seal.ErrKey) {
		t.Errorf("a secret of another length: %v", err)
	}
	w.mu.Lock()
	w.down = true
	w.mu.Unlock()
	_, err = s.Key(t.Context(), id)
	if err == nil || errors.Is(err, keyring.ErrNoKey) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Barbican is broken: %v", err)
	}
}

// TestOpenStackMayComeLater: a source that could not connect connects when it is asked again.
func TestOpenStackMayComeLater(t *testing.T) {
	w := newTwin(t)
	w.secrets[id] = make([]byte, seal.ClusterKeySize)
	w.down = true
	s := New(Cloud("here"))
	if _, err := s.Key(t.Context(), id); err == nil || errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("Keystone refuses: %v", err)
	}
	w.mu.Lock()
	w.down = false
	w.mu.Unlock()
	if _, err := s.Key(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, err := New(Cloud("elsewhere")).Key(t.Context(), id); err == nil || !strings.Contains(err.Error(),
		"clouds.yaml") {
		t.Errorf("a cloud that is not in the file: %v", err)
	}
}

// TestCredentialsMayChange: when the password is changed, in Keystone and then in clouds.yaml, keys can be
// had again without a restart.
func TestCredentialsMayChange(t *testing.T) {
	w := newTwin(t)
	w.secrets[id] = make([]byte, seal.ClusterKeySize)
	s := New(Cloud("here"))
	if _, err := s.Key(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.password, w.valid = "another", "none"
	w.mu.Unlock()
	_, err := s.Key(t.Context(), id)
	if err == nil || errors.Is(err, keyring.ErrNoKey) || strings.Contains(err.Error(), "secret\"") {
		t.Errorf("with the former password: %v", err)
	}
	w.configure(t, "another")
	if _, err := s.Key(t.Context(), id); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}
