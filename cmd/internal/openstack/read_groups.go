package openstack

import (
	"context"
	"fmt"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Groups, of which gophercloud knows nothing.

// grouped is what is looked at of the lists of groups, of their types and of their snapshots.
type grouped struct {
	ID      string
	Status  string
	Type    string            `json:"group_type"`  // of a group: id
	GroupID string            `json:"group_id"`    // of a group snapshot
	Specs   map[string]string `json:"group_specs"` // of a type
}

func readGroups(ctx context.Context, c *gophercloud.ServiceClient) (out []Group, err error) {
	types, err := list(ctx, c, "group_types", "group_types", url.Values{"is_public": {"None"}}) // both kinds
	if err != nil {
		return nil, err
	}
	consistent := map[string]bool{}
	for _, t := range types {
		consistent[t.ID] = t.Specs["consistent_group_snapshot_enabled"] == "<is> True"
	}
	found, err := list(ctx, c, "groups", "groups/detail", url.Values{"all_tenants": {"true"}})
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		g := Group{Status: f.Status, Consistent: consistent[f.Type]}
		if g.ID, err = cluster.ParseUUID(f.ID); err != nil {
			return nil, fmt.Errorf("read Cinder's groups: %w", err)
		}
		out = append(out, g)
	}
	return out, nil
}

func readMoments(ctx context.Context, c *gophercloud.ServiceClient) (out []Moment, err error) {
	found, err := list(ctx, c, "group_snapshots", "group_snapshots/detail", url.Values{"all_tenants": {"true"}})
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		m := Moment{Status: f.Status}
		if m.ID, err = cluster.ParseUUID(f.ID); err == nil {
			m.Group, err = cluster.ParseUUID(f.GroupID)
		}
		if err != nil {
			return nil, fmt.Errorf("read Cinder's group snapshots: %w", err)
		}
		out = append(out, m)
	}
	return out, nil
}

// list reads a collection of Cinder, page by page, however long Cinder makes them.
func list(ctx context.Context, c *gophercloud.ServiceClient, name, path string, query url.Values) (
	all []grouped, err error) {
	for {
		var page map[string][]grouped
		resp, err := c.Get(ctx, c.ServiceURL(path)+"?"+query.Encode(), &page, nil)
		if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
			return nil, fmt.Errorf("read Cinder's %s: %w", name, err)
		}
		got := page[name]
		if len(got) == 0 {
			return all, nil
		}
		all = append(all, got...)
		query.Set("marker", got[len(got)-1].ID)
	}
}

// optional reads an id that may be none.
func optional(text string) (cluster.UUID, error) {
	if text == "" {
		return cluster.UUID{}, nil
	}
	return cluster.ParseUUID(text)
}
