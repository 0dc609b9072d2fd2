package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/xts"
)

// ErrKey is wrapped when a key is not one, or does not open what it should.
var ErrKey = errors.New("wrong key")

// Sizes in bytes.
const (
	ClusterKeySize = 32
	nonceSize      = 12
	tagSize        = 16
	WrappedSize    = 1 + nonceSize + xts.KeySize + tagSize
)

// wrapVersion is the format of a wrapped key.
const wrapVersion = 1

const hidden = "(hidden)"

// DataKey encrypts the blocks of one volume and its clones.
type DataKey struct{ b [xts.KeySize]byte }

// NewDataKey draws a key; random is crypto/rand.Reader except in tests.
func NewDataKey(random io.Reader) (DataKey, error) {
	var k DataKey
	if _, err := io.ReadFull(random, k.b[:]); err != nil {
		return DataKey{}, fmt.Errorf("draw a data key: %w", err)
	}
	return k, nil
}

// Format implements fmt.Formatter: no verb shows the key.
func (DataKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText keeps the key out of JSON and logs.
func (DataKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// ClusterKey wraps data keys.
type ClusterKey struct{ b [ClusterKeySize]byte }

// NewClusterKey draws a key; random is crypto/rand.Reader except in tests.
func NewClusterKey(random io.Reader) (ClusterKey, error) {
	var k ClusterKey
	if _, err := io.ReadFull(random, k.b[:]); err != nil {
		return ClusterKey{}, fmt.Errorf("draw a cluster key: %w", err)
	}
	return k, nil
}

// ClusterKeyFrom takes the bytes of a key from where keys are kept. The error wraps ErrKey.
func ClusterKeyFrom(raw []byte) (ClusterKey, error) {
	if len(raw) != ClusterKeySize {
		return ClusterKey{}, fmt.Errorf("%w: %d bytes, a cluster key has %d", ErrKey, len(raw), ClusterKeySize)
	}
	return ClusterKey{[ClusterKeySize]byte(raw)}, nil
}

// ParseClusterKey reads what Reveal wrote. The error wraps ErrKey, and does not show the text.
func ParseClusterKey(text string) (ClusterKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return ClusterKey{}, fmt.Errorf("%w: it is not base64", ErrKey)
	}
	return ClusterKeyFrom(raw)
}

// Reveal is the key as text, for the place where keys are kept and no other.
func (k ClusterKey) Reveal() string { return base64.StdEncoding.EncodeToString(k.b[:]) }

// Format implements fmt.Formatter: no verb shows the key.
func (ClusterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText keeps the key out of JSON and logs.
func (ClusterKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Wrap encrypts the data key of that id, for records; random is crypto/rand.Reader except in tests.
func (k ClusterKey) Wrap(d DataKey, id cluster.UUID, random io.Reader) ([]byte, error) {
	out, err := k.wrap(d.b[:], bound("ashlar data key", id[:]), random)
	if err != nil {
		return nil, fmt.Errorf("wrap data key %v: %w", id, err)
	}
	return out, nil
}

// Unwrap is the inverse of Wrap. The error wraps ErrKey: another cluster key or another data key's id than
// the one it was wrapped with, or bytes that Wrap did not make.
func (k ClusterKey) Unwrap(wrapped []byte, id cluster.UUID) (DataKey, error) {
	raw, err := k.unwrap(wrapped, bound("ashlar data key", id[:]))
	if err == nil && len(raw) != xts.KeySize {
		err = fmt.Errorf("%w: %d bytes, want %d", ErrKey, len(wrapped), WrappedSize)
	}
	if err != nil {
		return DataKey{}, fmt.Errorf("unwrap data key %v: %w", id, err)
	}
	d := DataKey{[xts.KeySize]byte(raw)}
	clear(raw)
	return d, nil
}

// WrapSecret encrypts a secret that is no data key, for records, and binds it to what it belongs to; random
// is crypto/rand.Reader except in tests.
func (k ClusterKey) WrapSecret(secret []byte, of string, random io.Reader) ([]byte, error) {
	out, err := k.wrap(secret, bound("ashlar secret", []byte(of)), random)
	if err != nil {
		return nil, fmt.Errorf("wrap a secret: %w", err)
	}
	return out, nil
}

// UnwrapSecret is the inverse of WrapSecret. The error wraps ErrKey: another cluster key, a secret that
// belongs to something else, or bytes that WrapSecret did not make.
func (k ClusterKey) UnwrapSecret(wrapped []byte, of string) ([]byte, error) {
	secret, err := k.unwrap(wrapped, bound("ashlar secret", []byte(of)))
	if err != nil {
		return nil, fmt.Errorf("unwrap a secret: %w", err)
	}
	return secret, nil
}

func (k ClusterKey) wrap(plain, bound []byte, random io.Reader) ([]byte, error) {
	out := make([]byte, 1+nonceSize, 1+nonceSize+len(plain)+tagSize)
	out[0] = wrapVersion
	if _, err := io.ReadFull(random, out[1:]); err != nil {
		return nil, err
	}
	return k.aead().Seal(out, out[1:1+nonceSize], plain, bound), nil
}

func (k ClusterKey) unwrap(wrapped, bound []byte) ([]byte, error) {
	if least := 1 + nonceSize + tagSize; len(wrapped) < least {
		return nil, fmt.Errorf("%w: %d bytes, at least %d are needed", ErrKey, len(wrapped), least)
	}
	if wrapped[0] != wrapVersion {
		return nil, fmt.Errorf("%w: version %d, this software reads %d", ErrKey, wrapped[0], wrapVersion)
	}
	raw, err := k.aead().Open(nil, wrapped[1:1+nonceSize], wrapped[1+nonceSize:], bound)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not fit", ErrKey)
	}
	return raw, nil
}

// bound is what a wrapped key or secret is bound to.
func bound(kind string, to []byte) []byte {
	return append(append([]byte(kind+"\x00"), wrapVersion), to...)
}

func (k ClusterKey) aead() cipher.AEAD {
	block, err := aes.NewCipher(k.b[:])
	if err == nil {
		var a cipher.AEAD
		if a, err = cipher.NewGCM(block); err == nil {
			return a
		}
	}
	panic("seal: AES-256-GCM takes no key of 32 bytes: " + err.Error())
}
