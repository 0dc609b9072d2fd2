package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/cmd/internal/build"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// New makes the command line; more commands are added by the caller.
func New(more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "ashlar",
		Short: "Manage an Ashlar cluster",
		Long: "Manage an Ashlar cluster: nodes, devices, pools, volumes and the hosts that may use them.\n\n" +
			exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Example: "  ashlar dev                                     # a cluster on this machine, to try out\n" +
			"  ashlar status\n" +
			"  ashlar volume create disk1 --pool fast --size 10GiB\n" +
			"  ashlar volume allow disk1 --this-host",
	}
	g := newGlobal(root)
	root.AddCommand(statusCommand(g), nodeCommand(g), deviceCommand(g), poolCommand(g), volumeCommand(g),
		hostCommand(g), snapshotCommand(g), groupCommand(g), scheduleCommand(g), placementCommand(g),
		projectCommand(g), keyCommand(g), caCommand(g), tokenCommand(g), auditCommand(g), eventsCommand(g),
		taskCommand(g), openstackCommand(g), contextCommand(g), supportCommand(g), versionCommand(g))
	root.AddCommand(more...)
	g.finish(root)
	return root
}

// finish gives all commands what all have.
func (g *global) finish(root *cobra.Command) {
	g.complete(root)
	each(root, func(c *cobra.Command) {
		switch c.Name() {
		case "list", "show", "status", "exports":
			if c.Runnable() && c.Flags().Lookup("watch") == nil {
				watchable(c)
			}
		}
	})
	strict(root)
}

// Explain adds to an error what its reader can do about it.
func Explain(err error) string {
	text := err.Error()
	var op *net.OpError
	var stranger *tls.CertificateVerificationError
	switch {
	case errors.As(err, &stranger):
		text += "\n  the cluster's authority is in ca.pem in the data-dir of its nodes: give it with --ca-file, " +
			"or keep it with `ashlar context add NAME --ca-fingerprint sha256:...`"
	case client.Is(err, wire.Unauthenticated):
		text += "\n  give a token with ASHLAR_TOKEN or --token-file; the first one is in DATA-DIR/admin-token " +
			"of the node that founded the cluster"
	case client.Is(err, wire.Forbidden):
		text += "\n  `ashlar token show ID` tells the role of a token, docs/security.md what each may"
	case client.Is(err, wire.NotEnoughDomains):
		text += "\n  add devices on more nodes, ask for fewer copies or chunks, or choose a narrower " +
			"--domain or --relax"
	case client.Is(err, wire.QuotaExceeded):
		text += "\n  `ashlar project show PROJECT` tells what it uses; an administrator sets its quota"
	case client.Is(err, wire.PoolOvercommitted):
		text += "\n  `ashlar pool show POOL` tells what is provisioned; `ashlar pool update POOL --overcommit` " +
			"sets the ratio"
	case client.Is(err, wire.KeyMissing):
		text += "\n  put the key into the key file of every node (setting key-file; `ashlard key add` makes " +
			"one); `ashlar key list` shows which nodes lack it"
	case client.Is(err, wire.VolumeExported):
		text += "\n  detach the hosts and `ashlar volume deny VOLUME --all` first"
	case client.Is(err, wire.SnapshotExported):
		text += "\n  detach the hosts and `ashlar snapshot deny SNAPSHOT --all` first"
	case client.Is(err, wire.VolumeHasSnapshots):
		text += "\n  `ashlar snapshot list VOLUME` shows them; `ashlar volume delete VOLUME --with-snapshots` " +
			"takes them along"
	case client.Is(err, wire.VolumeHoldsData):
		text += "\n  `ashlar volume resize --shrink --discard-data` cuts it off all the same, for good"
	case client.Is(err, wire.VolumeShrinking):
		text += "\n  `ashlar task wait` waits until that is done"
	case client.Is(err, wire.SnapshotNotNewest):
		text += "\n  `ashlar volume revert --force` keeps them; they go on showing what they show"
	case client.Is(err, wire.VolumeInGroup):
		text += "\n  `ashlar group remove GROUP VOLUME` takes it out"
	case client.Is(err, wire.SnapshotInGroup):
		text += "\n  `ashlar group snapshots` shows them; `ashlar group delete-snapshot` deletes one as a whole"
	case client.Is(err, wire.GroupNotEmpty):
		text += "\n  `ashlar group remove` takes volumes out, `ashlar group delete-snapshot` deletes snapshots"
	case client.Is(err, wire.PoolNotEmpty):
		text += "\n  `ashlar volume list --pool POOL` shows its volumes, `ashlar task list --kind purge` what " +
			"space comes back; a device that does not is taken out by `ashlar device fail`"
	case client.Is(err, wire.Unavailable):
		text += "\n  `ashlar status` tells what is down; the call may be repeated"
	case errors.As(err, &op) && op.Op == "dial":
		text += "\n  is a node running there? set --endpoint or ASHLAR_ENDPOINT to the URL of one"
	case errors.Is(err, context.DeadlineExceeded):
		text += "\n  no answer in time: try another --endpoint, or a longer --timeout"
	}
	return text
}

// run makes the body of a command that talks to the cluster.
func (g *global) run(do func(cmd *cobra.Command, c *client.Client, args []string) error,
) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := g.client()
		if err != nil {
			return err
		}
		return do(cmd, c, args)
	}
}

func versionCommand(g *global) *cobra.Command {
	var only bool
	c := &cobra.Command{
		Use: "version", Short: "Print the versions of this program and of the node that answers",
		Args: cobra.NoArgs, Example: "  ashlar version --client",
		RunE: func(cmd *cobra.Command, _ []string) error {
			own := build.Version()
			result := map[string]wire.Version{"client": own}
			t := table{head: []string{"", "VERSION", "COMMIT", "API", "GO"}}
			t.add("client", own.Version, own.Commit, own.API, own.Go)
			if !only {
				c, err := g.client()
				if err != nil {
					return err
				}
				node, err := c.GetVersion(cmd.Context())
				if err != nil {
					return fmt.Errorf("version of the node (leave it out with --client): %w", err)
				}
				result["node"] = node
				t.add("node", node.Version, node.Commit, node.API, node.Go)
			}
			return g.print(cmd, result, t)
		},
	}
	c.Flags().BoolVar(&only, "client", false, "only this program's")
	return c
}
