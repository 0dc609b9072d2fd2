package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// shelf is token records in memory, and a switch to make them unreadable.
type shelf struct {
	records map[cluster.UUID]Record
	down    bool
	uses    int // that were kept
}

var errDown = errors.New("records cannot be read")

func (s *shelf) Token(_ context.Context, id cluster.UUID) (Record, error) {
	if s.down {
		return Record{}, errDown
	}
	r, ok := s.records[id]
	if !ok {
		return Record{}, fmt.Errorf("token %v: %w", id, cluster.ErrNoRecord)
	}
	return r, nil
}

func (s *shelf) TokenUsed(_ context.Context, id cluster.UUID, when time.Time) error {
	r := s.records[id]
	r.LastUsed = when.Format(time.RFC3339)
	s.records[id] = r
	s.uses++
	return nil
}

func newToken(t *testing.T, r Record) (Secret, Record) {
	t.Helper()
	s, err := NewSecret(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.ID, r.Hash = s.ID(), s.Hash()
	return s, r
}

func TestVerify(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	good, goodRec := newToken(t, Record{Name: "ops", Role: Admin})
	old, oldRec := newToken(t, Record{Role: Admin, Expires: now.Format(time.RFC3339)})
	later, laterRec := newToken(t, Record{Role: Join, Expires: now.Add(time.Second).Format(time.RFC3339)})
	garbled, garbledRec := newToken(t, Record{Role: Admin, Expires: "soon"})
	unknown, _ := newToken(t, Record{})
	sh := &shelf{records: map[cluster.UUID]Record{}}
	for _, r := range []Record{goodRec, oldRec, laterRec, garbledRec} {
		sh.records[r.ID] = r
	}
	swapped := tokenPrefix + "." + good.ID().String() + "." + strings.Split(old.Reveal(), ".")[2]
	for name, c := range map[string]struct {
		token string
		role  Role
	}{
		"good":           {good.Reveal(), Admin},
		"not yet over":   {later.Reveal(), Join},
		"just over":      {old.Reveal(), ""},
		"garbled expiry": {garbled.Reveal(), ""},
		"unknown":        {unknown.Reveal(), ""},
		"empty":          {"", ""},
		"other's secret": {swapped, ""},
		"cut":            {good.Reveal()[:len(good.Reveal())-1], ""},
		"longer":         {good.Reveal() + "A", ""},
		"only the id":    {tokenPrefix + "." + good.ID().String() + ".", ""},
		"other scheme":   {strings.Replace(good.Reveal(), "ashlar", "ashlas", 1), ""},
		"hidden form":    {good.String(), ""},
		"its hash":       {tokenPrefix + "." + good.ID().String() + "." + good.Hash(), ""},
	} {
		p, err := NewTokens(sh, func() time.Time { return now }).Verify(t.Context(), c.token)
		if c.role == "" {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%s: got %+v, %v", name, p, err)
			}
		} else if err != nil || p.Role != c.role {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

// TestVerifyWithoutRecords: a token seen good is believed for a while when nobody can look it up, a new one
// is not, and a revoked one never again.
func TestVerifyWithoutRecords(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	known, knownRec := newToken(t, Record{Name: "ops", Role: Admin})
	fresh, freshRec := newToken(t, Record{Role: Admin})
	sh := &shelf{records: map[cluster.UUID]Record{knownRec.ID: knownRec, freshRec.ID: freshRec}}
	v := NewTokens(sh, func() time.Time { return now })
	verify := func(s Secret, want error) {
		t.Helper()
		if _, err := v.Verify(t.Context(), s.Reveal()); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	verify(known, nil)
	sh.down = true
	verify(known, nil)
	verify(fresh, errDown)
	wrong := known
	wrong.secret[0]++
	verify(wrong, ErrRefused)
	now = now.Add(rememberFor + time.Second)
	verify(known, errDown)
	sh.down = false
	verify(known, nil)
	delete(sh.records, knownRec.ID)
	verify(known, ErrRefused)
	sh.down = true
	verify(known, errDown)
}

// TestCheckNamesTheRecord: the right secret does not open another token's record.
func TestCheckNamesTheRecord(t *testing.T) {
	s, r := newToken(t, Record{Role: Admin})
	if err := s.Check(r, time.Now()); err != nil {
		t.Error(err)
	}
	r.ID[0]++
	if err := s.Check(r, time.Now()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestRememberIsBounded(t *testing.T) {
	sh := &shelf{records: map[cluster.UUID]Record{}}
	v := NewTokens(sh, time.Now)
	for range rememberMax + 50 {
		s, r := newToken(t, Record{Role: Admin})
		sh.records[r.ID] = r
		if _, err := v.Verify(t.Context(), s.Reveal()); err != nil {
			t.Fatal(err)
		}
	}
	if len(v.known) > rememberMax {
		t.Errorf("%d tokens remembered", len(v.known))
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	s, _ := newToken(t, Record{})
	secret := strings.Split(s.Reveal(), ".")[2]
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s", s, s, s, s)} {
		if strings.Contains(text, secret) || !strings.Contains(text, "hidden") {
			t.Errorf("printed as %q", text)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	s, _ := NewSecret(strings.NewReader(strings.Repeat("0123456789abcdef", 3)))
	f.Add(s.Reveal())
	f.Add("ashlar..")
	f.Add("ashlar." + s.ID().String() + ".AA")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if again, err := ParseSecret(s.Reveal()); err != nil || again != s {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// TestLastUse: the time of a use is kept, but not of every use.
func TestLastUse(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	secret, rec := newToken(t, Record{Role: Viewer})
	sh := &shelf{records: map[cluster.UUID]Record{rec.ID: rec}}
	v := NewTokens(sh, func() time.Time { return now })
	for range 5 {
		for range 10 {
			if _, err := v.Verify(t.Context(), secret.Reveal()); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(useEvery)
	}
	if sh.uses != 5 {
		t.Errorf("kept %d times in 5 hours", sh.uses)
	}
}
