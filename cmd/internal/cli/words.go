package cli

import (
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
)

// words are what people say of anything that they make.
type words struct {
	id, description string
	meta            map[string]string
}

func (w *words) flags(f *pflag.FlagSet) {
	f.StringVar(&w.id, "id", "", "id to give it, so that the command may be repeated (default: a new one)")
	f.StringVar(&w.description, "description", "", "words to keep with it")
	f.StringToStringVar(&w.meta, "meta", nil, "key=value pairs to keep with it")
}

// uuid is the id that was given to a new what; zero: none was.
func (w *words) uuid(what string) (cluster.UUID, error) {
	if w.id == "" {
		return cluster.UUID{}, nil
	}
	return parseUUID(what, w.id)
}

func projectFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "project", "", "project that owns it (default: the one of your token)")
}

// newWords are how something is called and described from now on.
type newWords struct{ name, description string }

func (w *newWords) flags(f *pflag.FlagSet) {
	f.StringVar(&w.name, "name", "", "new name")
	f.StringVar(&w.description, "description", "", "words to keep with it instead of the present ones")
}

// set puts what was given into a request.
func (w *newWords) set(f *pflag.FlagSet, name, description **string) {
	if f.Changed("name") {
		*name = &w.name
	}
	if f.Changed("description") {
		*description = &w.description
	}
}

// newMeta are the pairs that something is to have, or no longer.
type newMeta struct {
	set   map[string]string
	unset []string
}

func (m *newMeta) flags(f *pflag.FlagSet) {
	f.StringToStringVar(&m.set, "meta", nil, "key=value pairs to add, or to change")
	f.StringSliceVar(&m.unset, "unset-meta", nil, "keys of pairs to remove")
}

// patch is the merge patch of the pairs; nil: they stay.
func (m *newMeta) patch() map[string]*string {
	if len(m.set)+len(m.unset) == 0 {
		return nil
	}
	out := make(map[string]*string)
	for k, x := range m.set {
		out[k] = &x
	}
	for _, k := range m.unset {
		out[k] = nil
	}
	return out
}

// useFlags narrow a list.
func useFlags(f *pflag.FlagSet, u *client.Use) {
	f.StringVar(&u.Host, "host", "", "only what this host may use: its NQN")
	f.StringSliceVar(&u.Metadata, "meta", nil, "only what has all these key=value pairs, or keys")
}

// addWords adds what people have said of something.
func (t *table) addWords(description string, meta cluster.Metadata) {
	if description != "" {
		t.add("DESCRIPTION", description)
	}
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		t.add("META", k+"="+meta[k])
	}
}
