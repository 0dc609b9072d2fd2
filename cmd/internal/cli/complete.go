package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
)

// completeTimeout bounds the time that a shell waits for names.
const completeTimeout = time.Second

// names lists what a word of a command line may be: each with a description after a tab. An error means that
// nothing is offered: a shell is no place for messages.
type names func(ctx context.Context, c *client.Client) ([]string, error)

// completions are the words of usage lines, and the flags, that stand for something live.
func (g *global) completions() map[string]names {
	return map[string]names{
		"VOLUME":    volumeNames,
		"VOLUME...": volumeNames,
		"GROUP":     groupNames,
		"SCHEDULE":  scheduleNames,
		"POOL":      poolNames,
		"DEVICE":    deviceNumbers,
		"DEVICE...": deviceNumbers,
		"NODE":      nodeNames,
		"TOKEN":     tokenIDs,
		"TASK":      taskIDs,
		"PROJECT":   projectNames,
		"HOST":      hostNames,
		"--project": projectNames,
		"CONTEXT":   g.contextNames,
		"--pool":    poolNames,

		"--from-volume": volumeNames,
		"--volume":      volumeNames,
		"--group":       groupNames,
		"--node":        nodeNames,
		"--host":        hostNames,
		"--device":      deviceNumbers,
		"--context":     g.contextNames,
	}
}

// complete gives every command below c completion: by the words of its usage line, by its flags.
func (g *global) complete(c *cobra.Command) {
	known := g.completions()
	each(c, func(c *cobra.Command) {
		words := placeholders(c.Use)
		if c.ValidArgsFunction == nil && len(words) > 0 {
			c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string,
				cobra.ShellCompDirective) {
				i := len(args)
				if last := len(words) - 1; i > last && strings.HasSuffix(words[last], "...") {
					i = last
				}
				if i >= len(words) || known[words[i]] == nil {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return g.offer(cmd, known[words[i]])
			}
		}
		for word, list := range known {
			name, ok := strings.CutPrefix(word, "--")
			if ok && (c.Flags().Lookup(name) != nil || c.PersistentFlags().Lookup(name) != nil) {
				_ = c.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]string,
					cobra.ShellCompDirective) {
					return g.offer(cmd, list)
				})
			}
		}
	})
}

// placeholders are the arguments in a usage line, in their order.
func placeholders(use string) []string {
	var out []string
	for _, word := range strings.Fields(use)[1:] {
		word = strings.Trim(word, "[]")
		if strings.HasPrefix(word, "-") {
			break // flags come last
		}
		out = append(out, word)
	}
	return out
}

// offer asks for names, for a moment.
func (g *global) offer(cmd *cobra.Command, list names) ([]string, cobra.ShellCompDirective) {
	const silent = cobra.ShellCompDirectiveNoFileComp
	c, err := g.client()
	if err != nil {
		return nil, silent
	}
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completeTimeout)
	defer cancel()
	found, err := list(ctx, c)
	if err != nil {
		return nil, silent
	}
	return found, silent
}

// volumeNames are names; with the pool where a name alone would not do.
func volumeNames(ctx context.Context, c *client.Client) ([]string, error) {
	page, err := c.ListVolumes(ctx, client.VolumeListOpts{ListOpts: client.ListOpts{Limit: completeMost,
		Fields: []string{"id", "name", "pool"}}})
	count := make(map[string]int)
	for _, v := range page.Items {
		count[v.Name]++
	}
	var out []string
	for _, v := range page.Items {
		name := v.Name
		if count[name] > 1 {
			name = v.Pool + "/" + name
		}
		out = append(out, name+"\t"+v.ID.String())
	}
	return out, err
}

// completeMost is how many names of volumes are offered.
const completeMost = 1000

func poolNames(ctx context.Context, c *client.Client) ([]string, error) {
	page, err := c.ListPools(ctx, client.PoolListOpts{ListOpts: client.ListOpts{Limit: completeMost,
		Fields: []string{"name", "description"}}})
	var out []string
	for _, p := range page.Items {
		out = append(out, p.Name+"\t"+p.Description)
	}
	return out, err
}

func deviceNumbers(ctx context.Context, c *client.Client) ([]string, error) {
	page, err := c.ListDevices(ctx, client.DeviceListOpts{ListOpts: client.ListOpts{Limit: completeMost,
		Fields: []string{"number", "node", "path"}}})
	var out []string
	for _, d := range page.Items {
		out = append(out, fmt.Sprintf("%d\tnode %d, %s", d.Number, d.Node, d.Path))
	}
	return out, err
}

func nodeNames(ctx context.Context, c *client.Client) ([]string, error) {
	page, err := c.ListNodes(ctx, client.NodeListOpts{ListOpts: client.ListOpts{Limit: completeMost,
		Fields: []string{"number", "name"}}})
	var out []string
	for _, n := range page.Items {
		out = append(out, n.Name+"\tnode "+strconv.FormatUint(uint64(n.Number), 10))
	}
	return out, err
}

func tokenIDs(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.AllTokens(ctx)
	var out []string
	for _, t := range all {
		out = append(out, t.ID.String()+"\t"+t.Name)
	}
	return out, err
}

func groupNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.AllGroups(ctx, "")
	var out []string
	for _, g := range all {
		out = append(out, g.Name+"\t"+g.ID.String())
	}
	return out, err
}

func scheduleNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.FindSchedules(ctx, client.ScheduleListOpts{})
	var out []string
	for _, x := range all {
		out = append(out, x.Name+"\t"+whenText(x))
	}
	return out, err
}

func projectNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.AllProjects(ctx)
	var out []string
	for _, p := range all {
		out = append(out, p.Name)
	}
	return out, err
}

func (g *global) contextNames(context.Context, *client.Client) ([]string, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	var out []string
	for name, e := range c.Contexts {
		out = append(out, name+"\t"+strings.Join(e.Endpoints, ","))
	}
	slices.Sort(out)
	return out, nil
}
