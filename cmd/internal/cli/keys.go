package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func keyCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "key", Short: "Cluster keys, which wrap the keys of encrypted volumes",
		Long: "Cluster keys, which wrap the keys of encrypted volumes. They are kept by the nodes (setting " +
			"key-file), never by the cluster, which knows their ids.\n\n" +
			"To rotate: `ashlard key add` makes a new key, put its line into the key file of every node, then " +
			"`ashlar key rotate --to ID`; take the old line out when `ashlar key list` does not show it any more.",
	}
	c.AddCommand(keyList(g), keyRotate(g))
	return c
}

func keyList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the cluster keys that are in use", Args: cobra.NoArgs,
		Example: "  ashlar key list",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			k, err := c.ListKeys(cmd.Context())
			if err != nil {
				return err
			}
			return g.print(cmd, k, keyTable(k))
		}),
	}
}

func keyRotate(g *global) *cobra.Command {
	var to string
	var wait bool
	c := &cobra.Command{
		Use: "rotate --to ID", Short: "Wrap all data keys with another cluster key from now on",
		Args: cobra.NoArgs,
		Long: "Wrap all data keys with another cluster key from now on: those of new volumes at once, those of " +
			"all others in the background, as soon as every node has the key. No data is written again.",
		Example: "  ashlar key rotate --to 2026-12\n  ashlar key list",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			k, err := c.RotateKey(cmd.Context(), wire.KeyRotation{To: to})
			if err != nil {
				return err
			}
			if wait {
				return g.awaitTask(cmd, c, wire.TaskRotate, to)
			}
			return g.print(cmd, k, keyTable(k))
		}),
	}
	waitFlag(c, &wait)
	c.Flags().StringVar(&to, "to", "", "id of the key")
	_ = c.MarkFlagRequired("to")
	return c
}

func keyTable(k wire.Keys) table {
	t := table{head: []string{"KEY", "CURRENT", "VOLUMES", "AUTHORITY", "MISSING ON NODES"}}
	for _, x := range k.Keys {
		current := ""
		if x.Current {
			current = "since " + k.Since
		}
		authority := ""
		if x.Authority {
			authority = "yes"
		}
		t.add(x.ID, current, x.Volumes, authority, strings.Trim(fmt.Sprint(x.Missing), "[]"))
	}
	return t
}
