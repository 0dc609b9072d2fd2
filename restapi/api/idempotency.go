package api

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// An Idempotency-Key makes repeating a POST harmless, at any node, also after a crash in the middle:
//
//	seed = HMAC(bearer token, key)
//	etcd: requests/<HMAC(seed, "name")> = {HMAC(seed, request), answer sealed under HMAC(seed, "answer")}
//
// The record is claimed before the call is carried out, so the key cannot serve another request. Everything
// that the call draws by chance (ids, secrets) is drawn from the seed: an attempt that was cut off is carried
// out again and finds what it made, as the same identity makes the same request a repetition everywhere in
// the manager. When the answer is known it is kept, and a late repetition gets it even if what was made is
// gone since. Nothing in etcd tells the key, the request or the answer to who does not have the token.
const (
	idempotencyKey = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
	settleTimeout  = 5 * time.Second
)

// once carries a POST out, at most once per idempotency key and token where the caller gave one.
func (s *Server) once(c *gin.Context, do func() error) error {
	key := c.GetHeader(idempotencyKey)
	if key == "" {
		return do()
	}
	if !plain(key) {
		return refuse(wire.InvalidField, idempotencyKey, "must be 1 to %d printable characters without blanks",
			maxPlain)
	}
	body, err := readAll(c)
	if err != nil {
		return err
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
	seed := derive([]byte(sentToken(c)), key)
	name := hex.EncodeToString(derive(seed, "name"))
	request := hex.EncodeToString(derive(seed, c.Request.Method, c.Request.URL.Path, string(body)))
	sealed, err := s.o.Manager.ClaimRequest(c.Request.Context(), name, request)
	if err != nil {
		return err
	}
	if sealed != nil {
		return replay(c, seed, sealed)
	}
	c.Request = c.Request.WithContext(manager.WithChance(c.Request.Context(), &chance{seed: seed}))
	held := &heldAnswer{ResponseWriter: c.Writer, status: http.StatusOK}
	c.Writer = held
	err = do()
	c.Writer = held.ResponseWriter
	still := context.WithoutCancel(c.Request.Context()) // also if the caller went away
	after, cancel := context.WithTimeout(still, settleTimeout)
	defer cancel()
	status := held.status
	if err != nil {
		status, _ = kind(classify(err).Code)
	}
	switch {
	case status < http.StatusMultipleChoices:
		s.o.Manager.SettleRequest(after, name, request, seal(seed, held.answer()))
	case status < http.StatusInternalServerError: // refused, nothing was done: the key is free again
		s.o.Manager.ReleaseRequest(after, name)
	}
	if err == nil {
		held.release()
	}
	return err
}

// derive is a key for one purpose. The parts are length-prefixed: no two lists of parts are the same bytes.
func derive(secret []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, secret)
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// chance is an endless stream that looks like chance and is the same for the same seed.
type chance struct {
	seed  []byte
	block uint64
	left  []byte
}

// Read implements io.Reader; it never fails.
func (r *chance) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(r.left) == 0 {
			var number [8]byte
			binary.BigEndian.PutUint64(number[:], r.block)
			r.block++
			r.left = derive(r.seed, "chance", string(number[:]))
		}
		m := copy(p[n:], r.left)
		r.left, n = r.left[m:], n+m
	}
	return len(p), nil
}

// keptAnswer is what a repetition is answered with.
type keptAnswer struct {
	Status   int    `json:"status"`
	Type     string `json:"type"`
	Location string `json:"location,omitempty"`
	ETag     string `json:"etag,omitempty"`
	Body     []byte `json:"body"`
}

// seal encrypts an answer: it may hold a secret.
func seal(seed []byte, a keptAnswer) []byte {
	text, err := json.Marshal(a)
	if err != nil {
		panic("an answer has no JSON form: " + err.Error())
	}
	box := sealer(seed)
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(text)+box.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return box.Seal(nonce, nonce, text, nil)
}

func sealer(seed []byte) cipher.AEAD {
	block, err := aes.NewCipher(derive(seed, "answer"))
	if err != nil {
		panic("a SHA-256 sum is no AES-256 key: " + err.Error())
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		panic("AES has no GCM: " + err.Error())
	}
	return box
}

func unseal(seed, sealed []byte) (a keptAnswer, err error) {
	box := sealer(seed)
	if len(sealed) < box.NonceSize() {
		return a, errors.New("kept answer: too short")
	}
	text, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], nil)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(text, &a)
}

func replay(c *gin.Context, seed, sealed []byte) error {
	a, err := unseal(seed, sealed)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"Location": a.Location, "ETag": a.ETag, replayedHeader: "true"} {
		if value != "" {
			c.Header(name, value)
		}
	}
	c.Data(a.Status, a.Type, a.Body)
	return nil
}

// heldAnswer keeps an answer back until it is known to the cluster.
type heldAnswer struct {
	gin.ResponseWriter
	status int
	body   bytes.Buffer
}

func (h *heldAnswer) WriteHeader(status int)               { h.status = status }
func (h *heldAnswer) WriteHeaderNow()                      {}
func (h *heldAnswer) Write(p []byte) (int, error)          { return h.body.Write(p) }
func (h *heldAnswer) WriteString(text string) (int, error) { return h.body.WriteString(text) }

func (h *heldAnswer) answer() keptAnswer {
	head := h.Header()
	return keptAnswer{Status: h.status, Type: head.Get("Content-Type"), Location: head.Get("Location"),
		ETag: head.Get("ETag"), Body: h.body.Bytes()}
}

// release sends what was held.
func (h *heldAnswer) release() {
	h.ResponseWriter.WriteHeader(h.status)
	_, _ = h.ResponseWriter.Write(h.body.Bytes())
}
