package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/cmd/internal/openstack"
	"github.com/ashlar-storage/ashlar/restapi/client"
)

func openstackCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "openstack", Short: "What OpenStack has in the cluster"}
	c.AddCommand(openstackAudit(g))
	return c
}

func openstackAudit(g *global) *cobra.Command {
	var cloud string
	var repair, sure bool
	c := &cobra.Command{
		Use: "audit", Short: "Compare what Cinder has with what the cluster has", Args: cobra.NoArgs,
		Long: "Compare what Cinder has with what the cluster has, and list the differences; none is exit status " +
			"0, any that is left is 4. It takes an administrator of OpenStack, by clouds.yaml or by OS_AUTH_URL " +
			"and so on, and a token that sees all volumes of the cluster. Nothing is changed in Cinder.\n\n" +
			"--repair takes access from hosts to which Cinder did not give a volume, and has in groups the volumes " +
			"that Cinder put there. With --yes too, it deletes what Cinder made and does not know any more; look at " +
			"the list before: volumes that Cinder unmanaged are such. Volumes that hosts may use, or that have " +
			"snapshots, stay; so do the volumes of a group.",
		Example: "  ashlar openstack audit --os-cloud prod\n  ashlar openstack audit --os-cloud prod --repair",
		RunE: g.run(func(cmd *cobra.Command, api *client.Client, _ []string) error {
			found, err := audit(cmd.Context(), api, cloud)
			if err != nil {
				return err
			}
			var failed error
			left := 0
			for i := range found {
				d := &found[i]
				if repair && d.Repairable() && (sure || !d.Deletes()) {
					err := openstack.Repair(cmd.Context(), api, *d)
					d.Repaired, failed = err == nil, errors.Join(failed, err)
				}
				if !d.Repaired {
					left++
				}
			}
			if err := errors.Join(g.print(cmd, found, auditedTable(found)), failed); err != nil {
				return err
			}
			if left > 0 {
				return &statusError{ExitConflict, fmt.Sprintf("Cinder and the cluster differ in %d points", left)}
			}
			return nil
		}),
	}
	f := c.Flags()
	f.StringVar(&cloud, "os-cloud", "", "cloud of clouds.yaml (default: OS_CLOUD, or the variables OS_*)")
	f.BoolVar(&repair, "repair", false, "take access away that Cinder did not give, and group as Cinder does")
	f.BoolVar(&sure, "yes", false, "with --repair: delete what is left over, for good")
	return c
}

// audit looks at the cluster, at Cinder, and at the cluster again.
func audit(ctx context.Context, api *client.Client, cloud string) ([]openstack.Difference, error) {
	id, err := api.GetCluster(ctx)
	if err != nil {
		return nil, err
	}
	cinder, err := openstack.Login(ctx, cloud)
	if err != nil {
		return nil, err
	}
	before, err := openstack.ReadCluster(ctx, api)
	if err != nil {
		return nil, err
	}
	theirs, err := openstack.ReadCinder(ctx, cinder, id.ID.String())
	if err != nil {
		return nil, err
	}
	after, err := openstack.ReadCluster(ctx, api)
	if err != nil {
		return nil, err
	}
	return openstack.Compare(before, theirs, after), nil
}

func auditedTable(found []openstack.Difference) table {
	t := table{head: []string{"DIFFERENCE", "RESOURCE", "ID", "NAME", "HOST OR VOLUME", "REPAIRED"}}
	for _, d := range found {
		repaired := ""
		if d.Repaired {
			repaired = "yes"
		}
		about := d.Host
		if !d.Volume.IsZero() {
			about = d.Volume.String()
		}
		t.add(string(d.Kind), d.Resource, d.ID.String(), d.Name, about, repaired)
	}
	return t
}
