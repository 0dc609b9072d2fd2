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
			StripeUnit: 16 << 10}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Pool){
		"name": func(p *Pool) { p.Name = "a/b" }, "code": func(p *Pool) { p.Code = "raid5" },
		"data": func(p *Pool) { p.Data = 2 }, "parity": func(p *Pool) { p.Parity = 3 },
		"domain": func(p *Pool) { p.Domain = "room" }, "chunk_size": func(p *Pool) { p.ChunkSize = 100000 },
		"stripe_unit": func(p *Pool) { p.StripeUnit = 512 << 10 },
	} {
		p := good()
		spoil(p)
		var f *FieldError
		if err := p.Validate(); !errors.As(err, &f) || f.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestDomains(t *testing.T) {
	m := &Map{Nodes: map[NodeID]*Node{1: {Number: 1, Domain: "a/r1"}, 2: {Number: 2, Domain: "a/r2"},
		3: {Number: 3}},
		Devices: map[DeviceID]*Device{1: {Number: 1, Node: 1, State: DeviceOnline},
			2: {Number: 2, Node: 1, State: DeviceOnline},
			3: {Number: 3, Node: 2, State: DeviceOnline}, 4: {Number: 4, Node: 3, State: DeviceFailed}}}
	ids := []DeviceID{1, 2, 3, 4}
	for level, want := range map[DomainLevel]int{DomainAZ: 1, DomainRack: 2, DomainNode: 2, DomainDevice: 3} {
		if got := m.CountDomains(ids, level); got != want {
			t.Errorf("%s: %d domains, want %d", level, got, want)
		}
	}
	p := &Pool{Name: "p", Data: 1, Parity: 2, Domain: DomainRack, Devices: ids}
	if err := p.ValidateIn(m); err == nil || !strings.Contains(err.Error(), "there are 2") {
		t.Errorf("three copies on two racks: %v", err)
	}
}

// TestOwnerRecord pins the JSON of the record that decides who serves a volume.
func TestOwnerRecord(t *testing.T) {
	o := Owner{Gateway: 2, Epoch: 7, Served: 7, Out: []Out{{Device: 3, At: MakeSeq(7, 9)}},
		Residencies: map[DeviceID]uint32{3: 2}}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"gateway":2,"epoch":7,"served":7,` +
		`"out":[{"device":3,"at":7696581394441}],"residencies":{"3":2}}`
	if string(b) != want {
		t.Fatalf("got  %s\nwant %s", b, want)
	}
	c := o.Clone()
	c.Out[0].Device, c.Residencies[3] = 1, 9
	if !o.IsOut(3) || o.Residency(3) != 2 || o.Residency(4) != 1 {
		t.Fatal("Clone shares memory")
	}
	var back Owner
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, o) {
		t.Fatalf("%+v, %v", back, err)
	}
}
