package cluster

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIdentifiersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := VolumeKey{VUID: rapid.Uint32Range(1, MaxVUID).Draw(t, "vuid"),
			Generation: rapid.Uint32Min(1).Draw(t, "gen")}
		if got, err := ParseVolumeKey(k.String()); err != nil || got != k {
			t.Fatalf("%v: %v, %v", k, got, err)
		}
		if got, err := ParseOwnerKey(KeyOwner(k)); err != nil || got != k {
			t.Fatalf("owner key of %v: %v, %v", k, got, err)
		}
		var u UUID
		copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
		if got, err := ParseUUID(strings.ToUpper(u.String())); err != nil || got != u {
			t.Fatalf("%v: %v, %v", u, got, err)
		}
		n := NodeID(rapid.Uint32Min(1).Draw(t, "node"))
		if id, got, err := ParseNodeNQN(NodeNQN(u, n)); err != nil || got != n || id != u {
			t.Fatalf("node NQN: %v %v %v", id, got, err)
		}
		s := MakeSeq(rapid.Uint32Range(0, MaxOwnerEpoch).Draw(t, "e"),
			rapid.Uint64Range(0, MaxSeqCounter).Draw(t, "c"))
		if MakeSeq(s.Epoch(), s.Counter()) != s {
			t.Fatalf("sequence %v", s)
		}
	})
}

func TestMalformedIdentifiers(t *testing.T) {
	for _, s := range []string{"", "1", "1.", ".1", "0.1", "1.0", "16777216.1", "1.1.1", "-1.1"} {
		if _, err := ParseVolumeKey(s); !errors.Is(err, ErrBadKey) {
			t.Errorf("volume key %q: %v", s, err)
		}
	}
	for _, s := range []string{"", "0190", "gggggggg-0000-0000-0000-000000000000",
		"00000000000000000000000000000000xxxx"} {
		if _, err := ParseUUID(s); !errors.Is(err, ErrBadKey) {
			t.Errorf("UUID %q: %v", s, err)
		}
	}
	u := UUID{1, 2, 3}
	for _, snapshot := range []bool{false, true} {
		name := map[bool]string{false: VolumeNQN(u), true: SnapshotNQN(u)}[snapshot]
		if id, of, ok := ParseSubsystemNQN(name); id != u || of != snapshot || !ok {
			t.Errorf("%s: %v %v %v", name, id, of, ok)
		}
	}
	for _, s := range []string{"", NodeNQN(u, 1), VolumeNQNPrefix, SnapshotNQNPrefix + "x",
		NQNPrefix + u.String()} {
		if _, _, ok := ParseSubsystemNQN(s); ok {
			t.Errorf("%q is read as a volume's or a snapshot's", s)
		}
	}
	for _, s := range []string{"", NQNPrefix + "node:", NQNPrefix + "node:x:1", NodeNQN(UUID{}, 0)} {
		if _, _, err := ParseNodeNQN(s); err == nil {
			t.Errorf("node NQN %q was accepted", s)
		}
	}
}

func TestNamesAndSizes(t *testing.T) {
	for _, s := range []string{"a", "volume-0190", "A.b:c_d-9", strings.Repeat("x", MaxNameLength)} {
		if err := ValidateName("name", s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "-a", "a/b", "a b", "ä", "a\x00", strings.Repeat("x", MaxNameLength+1)} {
		var f *FieldError
		if err := ValidateName("name", s); !errors.As(err, &f) || f.Field != "name" {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, n := range []uint64{0, 1, 4095, 4097, MaxVolumeSize + BlockSize} {
		if ValidateSize("size", n) == nil {
			t.Errorf("size %d was accepted", n)
		}
	}
	for _, s := range []string{"nqn.", "iqn.2014-08.org.x", "nqn.2014-08.org.x y", "nqn." +
		strings.Repeat("x", 223)} {
		if ValidateNQN("host", s) == nil {
			t.Errorf("NQN %q was accepted", s)
		}
	}
	if err := ValidateNQN("host",
		"nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"); err != nil {
		t.Error(err)
	}
}

func TestPoolsNameWhatIsWrong(t *testing.T) {
	good := func() *Pool {
		return &Pool{Name: "p", Code: CodeReplica, Data: 1, Parity: 1, Domain: DomainNode, ChunkSize: 256 << 10,
			StripeUnit: 16 << 10, Members: []Member{{Device: 1, Weight: 1, Domain: "a/r/1"}}}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Pool){
		"name": func(p *Pool) { p.Name = "a/b" }, "code": func(p *Pool) { p.Code = "raid5" },
		"data": func(p *Pool) { p.Data = 2 }, "parity": func(p *Pool) { p.Parity = 4 },
		"domain": func(p *Pool) { p.Domain = "room" }, "chunk_size": func(p *Pool) { p.ChunkSize = 100000 },
		"stripe_unit": func(p *Pool) { p.StripeUnit = 512 << 10 }, "members": func(p *Pool) { p.Members = nil },
		"changes":     func(p *Pool) { p.Changes = make([]Change, MaxChanges+1) },
		"min_columns": func(p *Pool) { p.MinColumns = 3 },
	} {
		p := good()
		spoil(p)
		var f *FieldError
		if err := p.Validate(); !errors.As(err, &f) || f.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestCodesTakeTheirShapes(t *testing.T) {
	for _, x := range []struct {
		code         Code
		data, parity int
		wrong        string // the field, "" for a valid shape
	}{
		{CodeReplica, 1, 0, ""}, {CodeReplica, 1, 3, ""}, {CodeReplica, 2, 1, "data"},
		{CodeReplica, 0, 1, "data"}, {CodeReplica, 1, 4, "parity"}, {CodeReplica, 1, -1, "parity"},
		{CodeRS, 1, 0, ""}, {CodeRS, 4, 2, ""}, {CodeRS, 16, 3, ""}, {CodeRS, 0, 1, "data"},
		{CodeRS, 17, 2, "data"}, {CodeRS, 4, 4, "parity"}, {CodeRS, 4, -1, "parity"},
		{CodeRDP, 1, 2, ""}, {CodeRDP, 16, 2, ""}, {CodeRDP, 4, 1, "parity"}, {CodeRDP, 4, 3, "parity"},
		{CodeRDP, 17, 2, "data"}, {"", 1, 1, "code"}, {"raid5", 1, 1, "code"},
	} {
		err := x.code.Validate(x.data, x.parity)
		var f *FieldError
		if errors.As(err, &f); (err == nil) != (x.wrong == "") || f != nil && f.Field != x.wrong {
			t.Errorf("%q %d+%d: %v, want an error about %q", x.code, x.data, x.parity, err, x.wrong)
		}
	}
}

// TestOwnerRecord pins the JSON of the record that decides who serves a volume.
func TestOwnerRecord(t *testing.T) {
	o := Owner{Gateway: 2, Epoch: 7, Served: 7, Journal: Journal{Version: 3, Members: []DeviceID{4, 1, 6}},
		Layout: []Boundary{{Table: 2, Cursor: 512}, {Table: 1, Cursor: 65536}}}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"gateway":2,"epoch":7,"served":7,"journal":{"version":3,"members":[4,1,6]},` +
		`"layout":[{"table":2,"cursor":512},{"table":1,"cursor":65536}]}`
	if string(b) != want {
		t.Fatalf("got  %s\nwant %s", b, want)
	}
	c := o.Clone()
	c.Journal.Members[0], c.Layout[0].Cursor = 9, 9
	if o.Journal.Members[0] != 4 || o.Layout[0].Cursor != 512 {
		t.Fatal("Clone shares memory")
	}
	var back Owner
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, o) {
		t.Fatalf("%+v, %v", back, err)
	}
}

// TestVolumeKeysAreGivenOutOnce: every key has a serial of its own, and the next one is always later.
func TestVolumeKeysAreGivenOutOnce(t *testing.T) {
	if first := VolumeKeyAfter(0); first != (VolumeKey{1, 1}) || first.Serial() != 1 {
		t.Errorf("the first key is %v, serial %d", first, first.Serial())
	}
	if next := VolumeKeyAfter(VolumeKey{MaxVUID, 3}.Serial()); next != (VolumeKey{1, 4}) {
		t.Errorf("after the last VUID of a generation comes %v", next)
	}
	if over := VolumeKeyAfter(VolumeKey{MaxVUID, 1<<32 - 1}.Serial()); over.Valid() {
		t.Errorf("after the last key of all comes %v", over)
	}
	rapid.Check(t, func(t *rapid.T) {
		k := VolumeKey{VUID: rapid.Uint32Range(1, MaxVUID).Draw(t, "vuid"),
			Generation: rapid.Uint32Range(1, 1<<32-2).Draw(t, "gen")}
		next := VolumeKeyAfter(k.Serial())
		if !next.Valid() || next.Serial() <= k.Serial() || next.Serial() > k.Serial()+2 {
			t.Fatalf("after %v (serial %d) comes %v (serial %d)", k, k.Serial(), next, next.Serial())
		}
	})
}

// TestWhatIsDeleted: a node that is behind does not take a volume for deleted whose VUID it knows of old.
func TestWhatIsDeleted(t *testing.T) {
	old, young := VolumeKey{5, 1}, VolumeKey{5, 2}
	s := &State{LastSerial: VolumeKey{4, 2}.Serial(), Volumes: map[VolumeKey]*Volume{}}
	if !s.Deleted(old) || s.Deleted(young) {
		t.Errorf("before the VUID is given out again: %v, %v", s.Deleted(old), s.Deleted(young))
	}
	s.LastSerial, s.Volumes[young] = young.Serial(), &Volume{}
	if !s.Deleted(old) || s.Deleted(young) {
		t.Errorf("after that: %v, %v", s.Deleted(old), s.Deleted(young))
	}
}
