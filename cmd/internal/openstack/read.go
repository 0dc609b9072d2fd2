package openstack

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	gopher "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/attachments"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/schedulerstats"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
)

// microversion is one that every supported Cinder has (2023.1 has 3.70); from 3.61 on it tells the cluster of
// services that a volume is with.
const microversion = "3.70"

// Login finds Cinder as OpenStack's own command line does: by a cloud of clouds.yaml, which may be named by
// OS_CLOUD, or by the variables OS_AUTH_URL and so on.
func Login(ctx context.Context, cloud string) (*gophercloud.ServiceClient, error) {
	provider, endpoint, err := authenticate(ctx, cloud)
	if err != nil {
		return nil, fmt.Errorf("log in to OpenStack: %w", err)
	}
	c, err := gopher.NewBlockStorageV3(provider, endpoint)
	if err != nil {
		return nil, fmt.Errorf("find Cinder in the catalog: %w", err)
	}
	c.Microversion = microversion
	return c, nil
}

func authenticate(ctx context.Context, cloud string) (*gophercloud.ProviderClient, gophercloud.EndpointOpts,
	error) {
	if cloud == "" && os.Getenv("OS_CLOUD") == "" {
		auth, err := gopher.AuthOptionsFromEnv()
		if err != nil {
			return nil, gophercloud.EndpointOpts{}, err
		}
		p, err := gopher.AuthenticatedClient(ctx, auth)
		return p, gophercloud.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")}, err
	}
	var named []clouds.ParseOption
	if cloud != "" {
		named = append(named, clouds.WithCloudName(cloud))
	}
	auth, endpoint, tls, err := clouds.Parse(named...)
	if err != nil {
		return nil, endpoint, err
	}
	p, err := config.NewProviderClient(ctx, auth, config.WithTLSConfig(tls))
	return p, endpoint, err
}

// ReadCluster reads what the cluster has.
func ReadCluster(ctx context.Context, c *client.Client) (out Cluster, err error) {
	pools, err := c.AllPools(ctx)
	for _, p := range pools {
		out.Pools = append(out.Pools, p.Name)
	}
	if err == nil {
		out.Volumes, err = c.AllVolumes(ctx, "", "")
	}
	if err == nil {
		out.Snapshots, err = c.AllSnapshots(ctx)
	}
	if err == nil {
		out.Groups, err = c.AllGroups(ctx, "")
	}
	if err == nil {
		out.Moments, err = c.AllGroupSnapshots(ctx, cluster.UUID{})
	}
	return out, err
}

// ReadCinder reads what Cinder has in a cluster. It is an error when no back end of Cinder that is up is that
// cluster: nothing could be told then.
func ReadCinder(ctx context.Context, c *gophercloud.ServiceClient, clusterID string) (Cinder, error) {
	var out Cinder
	places, err := placesOf(ctx, c, clusterID)
	if err != nil {
		return out, err
	}
	for _, place := range places {
		_, pool, _ := strings.Cut(place, "#")
		out.Pools = append(out.Pools, pool)
	}
	if out.Volumes, err = readVolumes(ctx, c, places); err != nil {
		return out, err
	}
	if err := readAttachments(ctx, c, out.Volumes); err != nil {
		return out, err
	}
	if out.Snapshots, err = readSnapshots(ctx, c); err != nil {
		return out, err
	}
	if out.Groups, err = readGroups(ctx, c); err != nil {
		return out, err
	}
	out.Moments, err = readMoments(ctx, c)
	return out, err
}

// placesOf lists the scheduler's pools (host@backend#pool) that are the cluster's.
func placesOf(ctx context.Context, c *gophercloud.ServiceClient, clusterID string) (places []string,
	err error) {
	pages, err := schedulerstats.List(c, schedulerstats.ListOpts{Detail: true}).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("read Cinder's pools: %w", err)
	}
	pools, err := schedulerstats.ExtractStoragePools(pages)
	if err != nil {
		return nil, fmt.Errorf("read Cinder's pools: %w", err)
	}
	for _, p := range pools {
		if p.Capabilities.LocationInfo == "AshlarDriver:"+clusterID {
			places = append(places, p.Name)
		}
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("no back end of Cinder is up and in the cluster %s", clusterID)
	}
	return places, nil
}

// listed is what is looked at of the list of volumes, for which gophercloud's own type has no room.
type listed struct {
	ID      string
	Status  string
	Host    string `json:"os-vol-host-attr:host"` // host@backend#pool
	NameID  string `json:"os-vol-mig-status-attr:name_id"`
	Cluster string `json:"cluster_name"` // of services, with pool
	GroupID string `json:"group_id"`
}

func readVolumes(ctx context.Context, c *gophercloud.ServiceClient, places []string) (out []Volume,
	err error) {
	pages, err := volumes.List(c, volumes.ListOpts{AllTenants: true}).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("read Cinder's volumes: %w", err)
	}
	var found []listed
	if err := volumes.ExtractVolumesInto(pages, &found); err != nil {
		return nil, fmt.Errorf("read Cinder's volumes: %w", err)
	}
	for _, f := range found {
		if !slices.Contains(places, f.Host) && !slices.Contains(places, f.Cluster) {
			continue
		}
		v := Volume{Status: f.Status}
		if v.ID, err = cluster.ParseUUID(f.ID); err != nil {
			return nil, fmt.Errorf("read Cinder's volumes: %w", err)
		}
		v.Known = v.ID
		if f.NameID != "" {
			if v.Known, err = cluster.ParseUUID(f.NameID); err != nil {
				return nil, fmt.Errorf("read Cinder's volume %s: name_id: %w", f.ID, err)
			}
		}
		if v.Group, err = optional(f.GroupID); err != nil {
			return nil, fmt.Errorf("read Cinder's volume %s: group_id: %w", f.ID, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// readAttachments fills in the hosts of volumes.
func readAttachments(ctx context.Context, c *gophercloud.ServiceClient, vs []Volume) error {
	pages, err := attachments.List(c, attachments.ListOpts{AllTenants: true}).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("read Cinder's attachments: %w", err)
	}
	var found []struct {
		VolumeID string         `json:"volume_id"`
		Info     map[string]any `json:"connection_info"`
	}
	if err := attachments.ExtractAttachmentsInto(pages, &found); err != nil {
		return fmt.Errorf("read Cinder's attachments: %w", err)
	}
	hosts := map[string][]string{}
	for _, a := range found {
		nqn, _ := a.Info["host_nqn"].(string)
		hosts[a.VolumeID] = append(hosts[a.VolumeID], nqn)
	}
	for i := range vs {
		v, of := &vs[i], hosts[vs[i].ID.String()]
		v.Hosts = slices.DeleteFunc(of, func(nqn string) bool { return nqn == "" })
		v.Vague = len(v.Hosts) < len(of) || v.Status == "in-use" && len(of) == 0
	}
	return nil
}

func readSnapshots(ctx context.Context, c *gophercloud.ServiceClient) (out []Snapshot, err error) {
	pages, err := snapshots.ListDetail(c, snapshots.ListOpts{AllTenants: true}).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("read Cinder's snapshots: %w", err)
	}
	var found []struct {
		ID       string
		Status   string
		VolumeID string `json:"volume_id"`
		MomentID string `json:"group_snapshot_id"`
	}
	if err := pages.(snapshots.SnapshotPage).ExtractIntoSlicePtr(&found, "snapshots"); err != nil {
		return nil, fmt.Errorf("read Cinder's snapshots: %w", err)
	}
	for _, f := range found {
		s := Snapshot{Status: f.Status}
		if s.ID, err = cluster.ParseUUID(f.ID); err == nil {
			s.Volume, err = cluster.ParseUUID(f.VolumeID)
		}
		if err == nil {
			s.Moment, err = optional(f.MomentID)
		}
		if err != nil {
			return nil, fmt.Errorf("read Cinder's snapshots: %w", err)
		}
		out = append(out, s)
	}
	return out, nil
}
