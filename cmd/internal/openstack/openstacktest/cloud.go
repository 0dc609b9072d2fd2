// Package openstacktest is an OpenStack as far as an audit asks one: a login at Keystone with Cinder in the
// catalog, and Cinder's lists, over real HTTP and in the shapes in which Cinder 21.3.1 answers them.
package openstacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Host is the back end of Cinder that the volumes are in, and Pool its pool.
const (
	Host = "vm@ashlar-1#" + Pool
	Pool = "gold"
)

// Cloud is an OpenStack with one administrator. Its lists are those of Cinder, to be changed between calls.
type Cloud struct {
	Volumes, Snapshots, Attachments    []map[string]any
	Groups, GroupTypes, GroupSnapshots []map[string]any

	url      string
	location string
}

// New starts one whose back end is a cluster, and lets OS_AUTH_URL and so on lead there, until the test ends.
func New(t *testing.T, clusterID string) *Cloud {
	c := &Cloud{location: "AshlarDriver:" + clusterID}
	s := httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(s.Close)
	c.url = s.URL
	for name, value := range map[string]string{"OS_CLOUD": "", "OS_AUTH_URL": s.URL + "/v3",
		"OS_USERNAME": "admin", "OS_PASSWORD": "pw", "OS_PROJECT_NAME": "admin", "OS_DOMAIN_NAME": "Default"} {
		t.Setenv(name, value)
	}
	return c
}

// Volume adds a volume that goes by its own id in the cluster.
func (c *Cloud) Volume(id cluster.UUID, status string) {
	c.Volumes = append(c.Volumes, map[string]any{"id": id, "name": "of a user", "status": status, "size": 1,
		"os-vol-host-attr:host": Host, "os-vol-mig-status-attr:name_id": nil, "cluster_name": nil,
		"group_id": nil, "attachments": []any{}, "created_at": "2026-01-01T00:00:00.000000", "updated_at": nil})
}

// Snapshot adds a snapshot of a volume.
func (c *Cloud) Snapshot(id, volume cluster.UUID, status string) {
	c.Snapshots = append(c.Snapshots, map[string]any{"id": id, "volume_id": volume, "status": status, "size": 1,
		"name": "of a user", "group_snapshot_id": nil, "created_at": "2026-01-01T00:00:00.000000",
		"updated_at": nil})
}

// Group adds a group whose snapshots are of one moment, or not.
func (c *Cloud) Group(id cluster.UUID, consistent bool, status string) {
	kind := map[string]any{"id": "type-of-" + id.String(), "name": "of groups", "is_public": false,
		"group_specs": map[string]string{}}
	if consistent {
		kind["group_specs"] = map[string]string{"consistent_group_snapshot_enabled": "<is> True"}
	}
	c.GroupTypes = append(c.GroupTypes, kind)
	c.Groups = append(c.Groups, map[string]any{"id": id, "name": "of a user", "status": status,
		"group_type": kind["id"], "volume_types": []any{}, "created_at": "2026-01-01T00:00:00.000000"})
}

// GroupSnapshot adds a group snapshot.
func (c *Cloud) GroupSnapshot(id, group cluster.UUID, status string) {
	c.GroupSnapshots = append(c.GroupSnapshots, map[string]any{"id": id, "group_id": group, "status": status,
		"name": "of a user", "created_at": "2026-01-01T00:00:00.000000"})
}

// Attach adds an attachment of a volume; without an NQN one that is only reserved.
func (c *Cloud) Attach(volume cluster.UUID, nqn string) {
	a := map[string]any{"id": volume, "volume_id": volume, "status": "reserved",
		"connection_info": map[string]any{},
		"attached_at":     "", "detached_at": "", "attach_mode": "null", "instance": volume}
	if nqn != "" {
		a["status"] = "attached"
		a["connection_info"] = map[string]any{"driver_volume_type": "nvmeof", "host_nqn": nqn, "access_mode": "rw"}
	}
	c.Attachments = append(c.Attachments, a)
}

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	if path != "/v3/auth/tokens" && r.Header.Get("X-Auth-Token") != "gAAAA" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	all := r.URL.Query().Get("all_tenants") == "true" // else only those of the administrator's own project
	switch {
	case path == "/v3/auth/tokens":
		w.Header().Set("X-Subject-Token", "gAAAA")
		w.WriteHeader(http.StatusCreated)
		public := map[string]any{"interface": "public", "region": "RegionOne", "url": c.url + "/v3/p"}
		cinder := map[string]any{"type": "volumev3", "name": "cinderv3", "endpoints": []any{public}}
		write(w, "token", map[string]any{"expires_at": "2096-01-01T00:00:00.000000Z", "catalog": []any{cinder}})
	case strings.HasSuffix(path, "/scheduler-stats/get_pools"):
		tells := map[string]any{"vendor_name": "Ashlar", "location_info": c.location, "total_capacity_gb": 100.5,
			"free_capacity_gb": 99.5}
		write(w, "pools", []any{map[string]any{"name": Host, "capabilities": tells}})
	case strings.HasSuffix(path, "/volumes/detail") && all:
		write(w, "volumes", c.Volumes)
	case strings.HasSuffix(path, "/attachments/detail") && all:
		write(w, "attachments", c.Attachments)
	case strings.HasSuffix(path, "/snapshots/detail") && all:
		write(w, "snapshots", c.Snapshots)
	case strings.HasSuffix(path, "/groups/detail") && all:
		write(w, "groups", page(r, c.Groups))
	case strings.HasSuffix(path, "/group_snapshots/detail") && all:
		write(w, "group_snapshots", page(r, c.GroupSnapshots))
	case strings.HasSuffix(path, "/group_types") && r.URL.Query().Get("is_public") == "None": // else public ones
		write(w, "group_types", page(r, c.GroupTypes))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// page is what comes after the marker, two at most, as if the operator had set osapi_max_limit so.
func page(r *http.Request, list []map[string]any) []map[string]any {
	marker := r.URL.Query().Get("marker")
	at := slices.IndexFunc(list, func(one map[string]any) bool { return fmt.Sprint(one["id"]) == marker })
	list = list[at+1:]
	return list[:min(2, len(list))]
}

func write(w http.ResponseWriter, name string, value any) {
	if list, ok := value.([]map[string]any); ok && list == nil {
		value = []any{}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{name: value})
}
