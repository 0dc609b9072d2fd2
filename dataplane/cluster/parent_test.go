package cluster

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

func clone() Volume {
	parent := Parent{Volume: UUID{1}, Key: VolumeKey{VUID: 1, Generation: 1}, Snapshot: UUID{9},
		Pin: MakeSeq(3, 17), Size: 4 * BlockSize}
	return Volume{UUID: UUID{2}, Name: "c", Pool: "p", Key: VolumeKey{VUID: 2, Generation: 1},
		Size: 8 * BlockSize, Parent: &parent}
}

// TestParentRecord pins the JSON of the link that a clone reads through.
func TestParentRecord(t *testing.T) {
	v := clone()
	b, err := json.Marshal(v.Parent)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"volume":"01000000-0000-0000-0000-000000000000","key":{"vuid":1,"generation":1},` +
		`"snapshot":"09000000-0000-0000-0000-000000000000","pin":"3.17","size":16384}`
	if string(b) != want {
		t.Fatalf("got  %s\nwant %s", b, want)
	}
	var back Parent
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, v.Parent) {
		t.Fatalf("%+v, %v", back, err)
	}
}

func TestParentsThatNothingCanBeReadFrom(t *testing.T) {
	v := clone()
	if err := v.Validate(); err != nil {
		t.Fatal(err)
	}
	v.Size = v.Parent.Size
	if err := v.Validate(); err != nil {
		t.Errorf("a clone as large as its parent: %v", err)
	}
	for what, spoil := range map[string]func(p *Parent, v *Volume){
		"no volume":           func(p *Parent, _ *Volume) { p.Volume = UUID{} },
		"no key":              func(p *Parent, _ *Volume) { p.Key = VolumeKey{} },
		"no snapshot":         func(p *Parent, _ *Volume) { p.Snapshot = UUID{} },
		"no pin":              func(p *Parent, _ *Volume) { p.Pin = 0 },
		"itself by id":        func(p *Parent, v *Volume) { p.Volume = v.UUID },
		"itself by key":       func(p *Parent, v *Volume) { p.Key = v.Key },
		"a larger parent":     func(p *Parent, v *Volume) { v.Size = p.Size - BlockSize },
		"an empty parent":     func(p *Parent, _ *Volume) { p.Size = 0 },
		"a part of a block":   func(p *Parent, _ *Volume) { p.Size-- },
		"a number past 24bit": func(p *Parent, _ *Volume) { p.Key.VUID = MaxVUID + 1 },
	} {
		v := clone()
		spoil(v.Parent, &v)
		var f *FieldError
		if err := v.Validate(); !errors.As(err, &f) || f.Field != "parent" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
