package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func caCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "ca", Short: "The cluster's certificate authority, which vouches for its nodes",
		Long: "The cluster's certificate authority, which vouches for its nodes: for their API (rest-tls: " +
			"cluster), among each other, and for their etcd (--encrypt-nodes).",
	}
	c.AddCommand(caStatus(g), caRotate(g), caTrust(g))
	return c
}

func caStatus(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show who issues certificates, who is trusted, and how far a replacement is",
		Args: cobra.NoArgs, Example: "  ashlar ca status --watch",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			a, err := c.GetAuthority(cmd.Context())
			if err != nil {
				return err
			}
			return g.print(cmd, a, authorityTable(a))
		}),
	}
}

func caRotate(g *global) *cobra.Command {
	var overlap time.Duration
	var leave, wait bool
	c := &cobra.Command{
		Use: "rotate", Short: "Replace the authority while everything goes on", Args: cobra.NoArgs,
		Long: "Replace the authority while everything goes on. A new one is drawn and trusted beside the present " +
			"one; when every node trusts it and --overlap is over, it issues all certificates; when every node " +
			"has one of them, the former one is not trusted any more. Nodes do that by themselves.\n\n" +
			"Who trusts the authority by a file (the Cinder driver, other command lines) needs the new one before " +
			"--overlap is over: `ashlar ca trust > ca.pem`. The context in use learns it now.\n\n" +
			"Nodes that are down are waited for. With --leave-absent they are not, and have to join again when " +
			"they come back. While a replacement is under way, this changes how it goes on.",
		Example: "  ashlar ca rotate\n  ashlar ca rotate --overlap 0s --wait\n  ashlar ca rotate --leave-absent",
	}
	c.RunE = g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
		var r wire.AuthorityRotation
		if f := cmd.Flags(); f.Changed("overlap") {
			if overlap < 0 {
				return usage("--overlap must not be negative")
			}
			seconds := uint64(overlap / time.Second)
			r.Overlap = &seconds
		}
		if cmd.Flags().Changed("leave-absent") {
			r.LeaveAbsent = &leave
		}
		a, err := c.RotateAuthority(cmd.Context(), r)
		if err != nil {
			return err
		}
		if c, err = g.learn(a); err != nil {
			return err
		}
		if wait {
			if a, err = awaitAuthority(cmd, c); err != nil {
				return err
			}
			if _, err = g.learn(a); err != nil {
				return err
			}
		}
		return g.print(cmd, a, authorityTable(a))
	})
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour,
		"how long both are trusted at least before the new one issues; kept if nothing is said later")
	c.Flags().BoolVar(&leave, "leave-absent", false, "do not wait for nodes that are down")
	waitFlag(c, &wait)
	return c
}

// awaitAuthority shows how far a replacement is until the former authority is gone.
func awaitAuthority(cmd *cobra.Command, c *client.Client) (wire.Authority, error) {
	p := progress{w: cmd.ErrOrStderr()}
	defer p.end()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		a, err := c.GetAuthority(cmd.Context())
		if err != nil {
			return a, err
		}
		part, text := authorityProgress(a)
		p.show(part, text)
		if part == 1 {
			return a, nil
		}
		select {
		case <-cmd.Context().Done():
			return a, cmd.Context().Err()
		case <-tick.C:
		}
	}
}

// authorityProgress is 1 when the former authority is gone and nobody who is up trusts it.
func authorityProgress(a wire.Authority) (part float64, text string) {
	stages := map[cluster.AuthorityStage]float64{cluster.AuthorityAnnounced: 1, cluster.AuthorityIssuing: 2,
		cluster.AuthoritySettled: 3}
	part = stages[a.Stage] / 4
	online := 0
	for _, w := range a.Waiting {
		if w.Online {
			online++
		}
	}
	switch {
	case a.Stage == cluster.AuthoritySettled && online == 0:
		return 1, "settled"
	case len(a.Waiting) > 0:
		return part, fmt.Sprintf("%s, waiting for %s", a.Stage, waitedNodes(a))
	case a.NotBefore != "":
		return part, fmt.Sprintf("%s until %s", a.Stage, a.NotBefore)
	}
	return part, string(a.Stage)
}

func waitedNodes(a wire.Authority) string {
	var out []string
	for _, w := range a.Waiting {
		if w.Online {
			out = append(out, fmt.Sprintf("node %d", w.Node))
		} else {
			out = append(out, fmt.Sprintf("node %d (down)", w.Node))
		}
	}
	return strings.Join(out, ", ")
}

func caTrust(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "trust", Short: "Print whom to trust, and let the context in use trust them", Args: cobra.NoArgs,
		Long: "Print the certificates of all authorities that are trusted now (PEM): two of them while one " +
			"replaces the other. A context that trusts an authority by itself trusts these from now on.",
		Example: "  ashlar ca trust > ca.pem",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			a, err := c.GetAuthority(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := g.learn(a); err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), trustedText(a))
			return err
		}),
	}
}

func trustedText(a wire.Authority) string {
	var text strings.Builder
	for _, c := range a.Authorities {
		text.WriteString(c.Certificate)
	}
	return text.String()
}

// learn keeps whom to trust in the context in use, if that has trusted an authority by itself so far, and
// makes a client that trusts them.
func (g *global) learn(a wire.Authority) (*client.Client, error) {
	ctx, err := g.credentials()
	if err != nil {
		return nil, err
	}
	if ctx.CA == "" {
		return g.connect(ctx)
	}
	ctx.CA = trustedText(a)
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	name := g.v.GetString("context")
	if name == "" {
		name = c.Current
	}
	if kept := c.Contexts[strings.ToLower(name)]; kept != nil && kept.CA != "" && kept.CA != ctx.CA {
		kept.CA = ctx.CA
		if err := g.save(c); err != nil {
			return nil, err
		}
	}
	return g.connect(ctx)
}

// issuerFingerprint names who issues now, by which a node that joins knows the cluster; for an API with an
// operator's certificate that is who vouches for it.
func issuerFingerprint(ctx context.Context, c *client.Client, trusted string) (string, error) {
	fingerprint, err := pki.Fingerprint(trusted)
	if err != nil {
		return "", fmt.Errorf("certificates to trust: %w", err)
	}
	a, err := c.GetAuthority(ctx)
	switch {
	case client.Is(err, wire.NotFound):
		return fingerprint, nil
	case err != nil:
		return "", err
	}
	for _, x := range a.Authorities {
		if x.Fingerprint == fingerprint {
			return a.Authorities[0].Fingerprint, nil
		}
	}
	return fingerprint, nil
}

func authorityTable(a wire.Authority) table {
	var t table
	for _, c := range a.Authorities {
		t.add(strings.ToUpper(c.Role), c.Fingerprint+", until "+c.Expires)
	}
	t.add("STAGE", a.Stage)
	t.add("SINCE", a.Since)
	t.add("ISSUES AFTER", a.NotBefore)
	t.add("WAITING FOR", waitedNodes(a))
	t.add("LEFT BEHIND", strings.Trim(fmt.Sprint(a.Left), "[]"))
	return t
}
