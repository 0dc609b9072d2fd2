package cluster

import "unicode/utf8"

// MaxGroupVolumes bounds the volumes of a group: what is done to all of them is one transaction of etcd.
const MaxGroupVolumes = 24

// Group is volumes of which snapshots are taken at one point, and that are reverted and cloned together. The
// record of each volume names its group, too.
type Group struct {
	UUID        UUID     `json:"uuid"`
	Name        string   `json:"name"` // unique in its project
	Project     string   `json:"project,omitempty"`
	Volumes     []UUID   `json:"volumes,omitempty"` // in the order in which they were added
	Description string   `json:"description,omitempty"`
	Metadata    Metadata `json:"metadata,omitempty"`
	Created     string   `json:"created"`
	// Request is a digest of the request that created it, by which its repetition is recognised.
	Request string `json:"request,omitempty"`
	// Revert is what the group was asked last to be.
	Revert *Revert `json:"revert,omitempty"`
}

// Validate checks the fields of a record.
func (g *Group) Validate() error {
	if err := ValidateName("name", g.Name); err != nil {
		return err
	}
	if g.Project != "" {
		if err := ValidateName("project", g.Project); err != nil {
			return err
		}
	}
	if g.UUID.IsZero() {
		return bad("uuid", "must not be zero")
	}
	if len(g.Volumes) > MaxGroupVolumes {
		return bad("volumes", "%d volumes, at most %d can be in a group", len(g.Volumes), MaxGroupVolumes)
	}
	if err := distinct("volumes", g.Volumes); err != nil {
		return err
	}
	if len(g.Description) > MaxDescription || !utf8.ValidString(g.Description) {
		return bad("description", "is longer than %d bytes, or no UTF-8", MaxDescription)
	}
	return g.Metadata.Validate()
}

// GroupSnapshot is a snapshot of every volume that a group had then. What state they are in their own records
// say.
type GroupSnapshot struct {
	UUID        UUID     `json:"uuid"`
	Name        string   `json:"name"` // unique among those of the group; its snapshots bear it, too
	Group       UUID     `json:"group"`
	Project     string   `json:"project,omitempty"` // the group's
	Snapshots   []UUID   `json:"snapshots"`
	Description string   `json:"description,omitempty"`
	Metadata    Metadata `json:"metadata,omitempty"`
	Created     string   `json:"created"`
	// Schedule has made it, and removes it again; zero: people did.
	Schedule UUID   `json:"schedule,omitzero"`
	Request  string `json:"request,omitempty"`
}

// Validate checks the fields of a record.
func (g *GroupSnapshot) Validate() error {
	if err := ValidateName("name", g.Name); err != nil {
		return err
	}
	if g.UUID.IsZero() || g.Group.IsZero() {
		return bad("uuid", "%v of group %v is not complete", g.UUID, g.Group)
	}
	if n := len(g.Snapshots); n == 0 || n > MaxGroupVolumes {
		return bad("snapshots", "%d snapshots, there are 1 to %d", n, MaxGroupVolumes)
	}
	if err := distinct("snapshots", g.Snapshots); err != nil {
		return err
	}
	if len(g.Description) > MaxDescription || !utf8.ValidString(g.Description) {
		return bad("description", "is longer than %d bytes, or no UTF-8", MaxDescription)
	}
	return g.Metadata.Validate()
}

func distinct(field string, list []UUID) error {
	seen := make(map[UUID]bool, len(list))
	for _, u := range list {
		if u.IsZero() || seen[u] {
			return bad(field, "%v is none, or is there twice", u)
		}
		seen[u] = true
	}
	return nil
}

// GroupStep is what the owner of one of its volumes is asked to do for a group snapshot:
//
//	GroupHold     no write of a host begins, for a bounded time
//	GroupPin      takes the pin, if writes are still held; then they go on
//	GroupRelease  it comes to nothing: writes go on, the pin is given up
type GroupStep uint32

// The steps.
const (
	GroupHold GroupStep = 1 + iota
	GroupPin
	GroupRelease
)

// Pinned is the answer to GroupPin: the pin, which is kept for as long as the owner record has this revision.
type Pinned struct {
	Pin      Seq
	Revision int64
}

// OwnerSwap replaces an owner record that must still have a revision.
type OwnerSwap struct {
	Volume   VolumeKey
	Revision int64
	Next     Owner
}
