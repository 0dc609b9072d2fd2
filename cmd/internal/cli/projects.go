package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// unbounded is how a quota that does not bound is written.
const unbounded = "unlimited"

func projectCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "project", Short: "Who owns volumes, and how much they may use",
		Long: "A project is a name that volumes belong to. Tokens of the role tenant act for one project and see " +
			"nothing of the others. Volumes without project belong to the cluster itself.",
	}
	c.AddCommand(projectList(g), projectShow(g), projectSet(g))
	return c
}

func projectList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the projects that have volumes or a quota", Args: cobra.NoArgs,
		Example: "  ashlar project list",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			projects, err := c.AllProjects(cmd.Context())
			if err != nil {
				return err
			}
			return g.print(cmd, projects, projectTable(projects...))
		}),
	}
}

func projectShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show PROJECT", Short: "Show the quota of a project and what it uses", Args: cobra.ExactArgs(1),
		Example: "  ashlar project show acme",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			p, err := c.GetProject(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, p, projectTable(p))
		}),
	}
}

func projectSet(g *global) *cobra.Command {
	var volumes, bytes string
	c := &cobra.Command{
		Use: "set PROJECT", Short: "Set the quota of a project",
		Long: "Set the quota of a project; what is not given stays as it is. A quota below what the project uses " +
			"takes nothing away, it only stops growth.",
		Example: "  ashlar project set acme --volumes 100 --bytes 10TiB\n" +
			"  ashlar project set acme --volumes unlimited",
		Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			var q wire.Quota
			now, err := c.GetProject(cmd.Context(), args[0])
			if err == nil {
				q = now.Quota
			} else if !client.Is(err, wire.NotFound) {
				return err
			}
			count := func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 63) }
			if err := setBound(&q.Volumes, "volumes", volumes, count); err != nil {
				return err
			}
			if err := setBound(&q.Bytes, "bytes", bytes, ParseSize); err != nil {
				return err
			}
			p, err := c.SetQuota(cmd.Context(), args[0], q)
			if err != nil {
				return err
			}
			return g.print(cmd, p, projectTable(p))
		}),
	}
	c.Flags().StringVar(&volumes, "volumes", "", "most volumes it may have, or unlimited")
	c.Flags().StringVar(&bytes, "bytes", "", "most bytes its volumes may have, such as 10TiB, or unlimited")
	return c
}

// setBound reads one bound of a quota; text "" leaves it as it is.
func setBound(bound **uint64, flag, text string, parse func(string) (uint64, error)) error {
	switch text {
	case "":
		return nil
	case unbounded:
		*bound = nil
		return nil
	}
	n, err := parse(text)
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	*bound = &n
	return nil
}

func projectTable(projects ...wire.Project) table {
	t := table{head: []string{"NAME", "VOLUMES", "OF", "BYTES", "OF"}}
	for _, p := range projects {
		volumes, bytes := unbounded, unbounded
		if p.Quota.Volumes != nil {
			volumes = strconv.FormatUint(*p.Quota.Volumes, 10)
		}
		if p.Quota.Bytes != nil {
			bytes = bytesText(*p.Quota.Bytes)
		}
		t.add(p.Name, p.Used.Volumes, volumes, bytesText(p.Used.Bytes), bytes)
	}
	return t
}
