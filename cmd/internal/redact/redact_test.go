package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func TestSecretsGo(t *testing.T) {
	secret := []byte("\x01\x02cluster-secret-of-32-bytes!!\xfe\xff")
	r := New(secret, []byte("hunter22"), []byte("ab"))
	for _, text := range []string{
		"key " + string(secret), "key " + hex.EncodeToString(secret), fmt.Sprintf("key %X", secret),
		"key " + base64.StdEncoding.EncodeToString(secret), fmt.Sprint("key ", secret),
		"the word is hunter22.",
		"ASHLARD_TOKEN=topsecret", "--token topsecret=1 token=topsecret", `{"admin_token": "top\"secret"}`,
		`password: 'top secret'`, "db_password=topsecret,x", "Authorization: Bearer topsecret",
		"Basic dG9wc2VjcmV0", "http://user:topsecret@host/", "client_secret_v2 = topsecret",
		"ashlar.00000000-0000-4000-8000-000000000001.topsecret",
		"-----BEGIN EC PRIVATE KEY-----\ntopsecret\n-----END EC PRIVATE KEY-----",
		"-----BEGIN PRIVATE KEY-----\ntopsecret, cut off",
	} {
		got := r.Text(text)
		if !strings.Contains(got, Mark) || strings.Contains(got, "topsecret") ||
			strings.Contains(got, "hunter22") ||
			strings.Contains(got, "dG9w") || strings.Contains(got, "top secret") || strings.Contains(got, `top\"`) ||
			strings.Contains(got, "cluster-secret") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestTheRestStays(t *testing.T) {
	r := New([]byte("ab"))
	for _, text := range []string{"volume is served here", "abc", `{"name":"disk1","size_bytes":4096}`,
		"http://192.0.2.1:7443/v1/volumes?limit=3", "nqn.2014-08.org.nvmexpress:uuid:1", "tokens are listed"} {
		if got := r.Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := r.Text("token 00000000-0000-4000-8000-000000000001"); !strings.Contains(got, "8000") {
		t.Errorf("the id of a token is no secret: %q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a token=", "secret-1")
	f.Fuzz(func(t *testing.T, around, secret string) {
		if len(secret) < leastSecret || strings.Contains(Mark, secret) {
			return
		}
		text := New([]byte(secret)).Text(around + " " + secret + " " + around)
		if strings.Contains(text, secret) && !strings.Contains(around, secret) && !strings.Contains(secret, Mark) &&
			!strings.Contains(Mark+" "+around+" "+Mark, secret) {
			t.Errorf("%q is still in %q", secret, text)
		}
	})
}
