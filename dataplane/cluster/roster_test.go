package cluster

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func threeMembers() []Member {
	return []Member{{Device: 1, Weight: 16, Domain: "a/r1/1"}, {Device: 2, Weight: 16, Domain: "a/r1/2"},
		{Device: 3, Weight: 32, Domain: "b/r2/3"}}
}

// TestPoolRecord pins the JSON of what placement is computed from.
func TestPoolRecord(t *testing.T) {
	p := Pool{ID: 1, Name: "p", Code: CodeReplica, Data: 1, Parity: 1, Domain: DomainNode, ChunkSize: 65536,
		StripeUnit: 4096, Relax: true, Members: threeMembers()[:1], Changes: []Change{
			{Kind: ChangeAdd, Members: threeMembers()[1:2]},
			{Kind: ChangeReweight, Members: []Member{{Device: 1, Weight: 8}}},
			{Kind: ChangeFail, Members: []Member{{Device: 2}}}}}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":1,"name":"p","code":"replica","data":1,"parity":1,"domain":"node","chunk_size":65536,` +
		`"stripe_unit":4096,"relax":true,"members":[{"device":1,"weight":16,"domain":"a/r1/1"}],"changes":[` +
		`{"kind":"add","members":[{"device":2,"weight":16,"domain":"a/r1/2"}]},` +
		`{"kind":"reweight","members":[{"device":1,"weight":8}]},` +
		`{"kind":"fail","members":[{"device":2}]}],"created":""}`
	if string(b) != want {
		t.Fatalf("got  %s\nwant %s", b, want)
	}
	var back Pool
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, p) || back.Validate() != nil {
		t.Fatalf("%+v, %v, %v", back, err, back.Validate())
	}
}

// TestHistory: a pool is on who joined and did not leave; how it began stays known.
func TestHistory(t *testing.T) {
	p := Pool{Members: threeMembers(), Changes: []Change{
		{Kind: ChangeAdd, Members: []Member{{Device: 9, Weight: 1, Domain: "b/r2/4"},
			{Device: 4, Weight: 1, Domain: "b/r2/4"}}},
		{Kind: ChangeFail, Members: []Member{{Device: 2}}},
		{Kind: ChangeReweight, Members: []Member{{Device: 9, Weight: 7}}},
		{Kind: ChangeRemove, Members: []Member{{Device: 4}, {Device: 1}}}}}
	if got := p.Devices(); !reflect.DeepEqual(got, []DeviceID{3, 9}) {
		t.Errorf("now on %v", got)
	}
	if got := p.FirstDevices(); !reflect.DeepEqual(got, []DeviceID{1, 2, 3}) {
		t.Errorf("was made on %v", got)
	}
	r, err := p.Roster()
	if err != nil {
		t.Fatal(err)
	}
	if i, ok := r.At(4); !ok || i != 4 || r.Members[4].Weight != 0 || r.Members[3].Weight != 7 {
		t.Errorf("roster %+v", r)
	}
}

func TestMalformedChangesAreRefusedAsAWhole(t *testing.T) {
	r, err := NewRoster(threeMembers())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(Change{Kind: ChangeFail, Members: []Member{{Device: 3}}}); err != nil {
		t.Fatal(err)
	}
	before := r.Clone()
	good := Member{Device: 7, Weight: 1, Domain: "a/r1/1"}
	for want, c := range map[string]Change{
		"must name a device":  {Kind: ChangeAdd},
		"none of add, remove": {Kind: "explode", Members: []Member{{Device: 1}}},
		"twice":               {Kind: ChangeAdd, Members: []Member{good, good}},
		"start at 1":          {Kind: ChangeAdd, Members: []Member{good, {Weight: 1, Domain: "a/r/1"}}},
		"once belonged":       {Kind: ChangeAdd, Members: []Member{good, {Device: 3, Weight: 1, Domain: "a/r/1"}}},
		"form az/rack/node":   {Kind: ChangeAdd, Members: []Member{good, {Device: 8, Weight: 1, Domain: "a//1"}}},
		"weight 0 is not":     {Kind: ChangeAdd, Members: []Member{good, {Device: 8, Domain: "a/r/1"}}},
		"weight 16777217":     {Kind: ChangeReweight, Members: []Member{{Device: 1, Weight: MaxWeight + 1}}},
		"does not belong":     {Kind: ChangeFail, Members: []Member{{Device: 1}, {Device: 3}}},
		"takes no weight":     {Kind: ChangeRemove, Members: []Member{{Device: 1, Weight: 1}}},
		"only for add":        {Kind: ChangeReweight, Members: []Member{{Device: 1, Weight: 1, Domain: "a/r/1"}}},
	} {
		var f *FieldError
		if err := r.Apply(c); !errors.As(err, &f) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if !reflect.DeepEqual(r, before) {
		t.Errorf("a refused change left a trace: %+v", r)
	}
}

func TestMembersAreCopiedFromTheMap(t *testing.T) {
	m := &Map{Nodes: map[NodeID]*Node{1: {Number: 1, Domain: "a/r1"}, 2: {Number: 2}},
		Devices: map[DeviceID]*Device{1: {Number: 1, Node: 1, Weight: 5}, 2: {Number: 2, Node: 2}}}
	got, err := m.Members([]DeviceID{2, 1})
	want := []Member{{Device: 2, Weight: 1, Domain: "default/default/2"},
		{Device: 1, Weight: 5, Domain: "a/r1/1"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for level, want := range map[DomainLevel]string{DomainAZ: "a", DomainRack: "a/r1", DomainNode: "a/r1/1",
		DomainDevice: "a/r1/1/1"} {
		if path := got[1].Path(level); path != want || m.DomainPath(m.Devices[1], level) != want {
			t.Errorf("%s: %s, %s", level, path, m.DomainPath(m.Devices[1], level))
		}
	}
	if _, err := m.Members([]DeviceID{3}); err == nil {
		t.Error("a device that does not exist became a member")
	}
}

// TestChunksPerDomain: one, unless a pool with too few domains relaxes; then as few as possible.
func TestChunksPerDomain(t *testing.T) {
	for _, x := range []struct {
		level DomainLevel
		width int
		relax bool
		want  int // 0: refused
	}{
		{DomainNode, 3, false, 1}, {DomainNode, 3, true, 1}, {DomainRack, 3, false, 0}, {DomainRack, 3, true, 2},
		{DomainAZ, 2, true, 1}, {DomainAZ, 3, true, 0}, {DomainDevice, 4, true, 0},
	} {
		p := &Pool{Data: 1, Parity: x.width - 1, Domain: x.level, Relax: x.relax}
		got, err := p.ChunksPerDomain(threeMembers())
		if got != x.want || errors.Is(err, ErrTooFewDomains) != (x.want == 0) {
			t.Errorf("%+v: %d, %v", x, got, err)
		}
	}
}
