// Package redact takes secrets out of text that leaves the cluster.
//
// What is known to be secret is found wherever it stands, in each of the forms that programs print bytes in.
// What only looks like a secret is found by its surroundings: tokens of ours, bearer tokens, private keys,
// passwords in URLs, and whatever is called a secret, password or token. Too much is taken out rather than
// too little.
package redact

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

// Mark stands where a secret was.
const Mark = "(removed)"

// leastSecret is the shortest text that is searched for as a secret; a shorter one would be found everywhere.
const leastSecret = 6

// Redactor takes secrets out. Any goroutine may use it.
type Redactor struct {
	known *strings.Replacer
	looks []look
}

// look is a kind of secret by its surroundings, and what is put in its place.
type look struct {
	re *regexp.Regexp
	by string
}

// New makes a redactor that knows these secrets.
func New(secrets ...[]byte) *Redactor {
	var pairs []string
	for _, s := range secrets {
		for _, form := range []string{string(s), hex.EncodeToString(s), strings.ToUpper(hex.EncodeToString(s)),
			base64.StdEncoding.EncodeToString(s), base64.RawStdEncoding.EncodeToString(s),
			base64.URLEncoding.EncodeToString(s), base64.RawURLEncoding.EncodeToString(s), decimal(s)} {
			if len(s) >= leastSecret {
				pairs = append(pairs, form, Mark)
			}
		}
	}
	name := `(?:secret|passwo?r?d|passphrase|token|credential|private[_-]?key|api[_-]?key)`
	return &Redactor{known: strings.NewReplacer(pairs...), looks: []look{
		{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`),
			Mark},
		{regexp.MustCompile(`\bashlar\.([0-9a-f-]{36})\.[A-Za-z0-9_=-]+`), "ashlar.$1." + Mark},
		{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+`), "$1 " + Mark},
		{regexp.MustCompile(`://[^/\s:@"]+:[^/\s@"]+@`), "://" + Mark + "@"},
		{regexp.MustCompile(`(?i)(--[a-z-]*` + name + `[a-z-]*[ =])\S+`), "$1" + Mark},
		{regexp.MustCompile(`(?i)("[a-z0-9_.-]*` + name + `[a-z0-9_.-]*"\s*:\s*)"(?:[^"\\]|\\.)*"`),
			`$1"` + Mark + `"`},
		{regexp.MustCompile(`(?i)(\b[a-z0-9_.-]*` + name + `[a-z0-9_.-]*\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;"'(]+)`),
			"$1" + Mark},
	}}
}

// decimal is how fmt prints bytes with %v.
func decimal(s []byte) string {
	out := make([]string, len(s))
	for i, b := range s {
		out[i] = strconv.Itoa(int(b))
	}
	return "[" + strings.Join(out, " ") + "]"
}

// Text is text without its secrets.
func (r *Redactor) Text(text string) string {
	text = r.known.Replace(text)
	for _, l := range r.looks {
		text = l.re.ReplaceAllString(text, l.by)
	}
	return text
}
