package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// HostNQNFile is where nvme-cli keeps the NQN of a Linux host.
const HostNQNFile = "/etc/nvme/hostnqn"

// HostNQN reads the NQN of this host.
func HostNQN() (string, error) {
	raw, err := os.ReadFile(HostNQNFile)
	if err != nil {
		return "", fmt.Errorf("this host's NQN is not known (`nvme gen-hostnqn > %s` makes one): %w", HostNQNFile,
			err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// hostArgument is the host that a command names, by its second argument or by --this-host.
func hostArgument(args []string, own bool) (string, error) {
	switch {
	case own && len(args) > 1:
		return "", usage("give a host NQN or --this-host, not both")
	case own:
		return HostNQN()
	case len(args) < 2:
		return "", usage("give the NQN of the host, or --this-host")
	}
	return args[1], nil
}

// ConnectArgs are the arguments of nvme-cli that connect a host to one portal of an export. The host asks
// every portal: the owner's answers, the others stand by. It goes on trying for ever when all are silent,
// so that I/O waits instead of failing, and misses a dead portal after five seconds.
func ConnectArgs(e wire.Export, p wire.Portal) []string {
	return []string{"connect", "-t", p.Transport, "-a", p.Address, "-s", strconv.Itoa(p.Port), "-n", e.NQN,
		"-q", e.Host, "--keep-alive-tmo=5", "--reconnect-delay=1", "--ctrl-loss-tmo=-1"}
}

// ConnectLines are the commands that connect a host to an export, one for each portal.
func ConnectLines(e wire.Export) []string {
	var out []string
	for _, p := range e.Portals {
		out = append(out, "nvme "+strings.Join(ConnectArgs(e, p), " "))
	}
	return out
}

// exportResult is an export with the commands that use it.
type exportResult struct {
	wire.Export
	Connect []string `json:"connect"`
}

func exportTable(e exportResult) table {
	var t table
	t.add("HOST", e.Host)
	t.add("NQN", e.NQN)
	t.add("UUID", e.UUID)
	for _, p := range e.Portals {
		t.add("PORTAL", fmt.Sprintf("%s %s port %d (node %d)", p.Transport, p.Address, p.Port, p.Node))
	}
	for _, line := range e.Connect {
		t.add("CONNECT", line)
	}
	return t
}

// exportable is a kind of what may be shown to hosts, with the calls that do it.
type exportable struct {
	noun    string // of the command
	arg     string // as the usage says
	example string
	use     string // what a host does with it
	find    func(ctx context.Context, c *client.Client, ref string) (cluster.UUID, error)
	put     func(c *client.Client, ctx context.Context, id cluster.UUID, host string,
		opts ...client.Option) (wire.Export, error)
	get  func(c *client.Client, ctx context.Context, id cluster.UUID, host string) (wire.Export, error)
	list func(c *client.Client, ctx context.Context, id cluster.UUID) ([]wire.Export, error)
	drop func(c *client.Client, ctx context.Context, id cluster.UUID, host string,
		opts ...client.Option) error
	dropAll func(c *client.Client, ctx context.Context, id cluster.UUID, opts ...client.Option) error
}

func volumeExport() exportable {
	return exportable{noun: "volume", arg: "VOLUME", example: "disk1", use: "use",
		find: func(ctx context.Context, c *client.Client, ref string) (cluster.UUID, error) {
			v, err := findVolume(ctx, c, ref)
			return v.ID, err
		},
		put: (*client.Client).PutExport, get: (*client.Client).GetExport, list: (*client.Client).ListExports,
		drop: (*client.Client).DeleteExport, dropAll: (*client.Client).DeleteExports}
}

func snapshotExport() exportable {
	return exportable{noun: "snapshot", arg: "SNAPSHOT", example: "disk1@monday", use: "read",
		find: func(ctx context.Context, c *client.Client, ref string) (cluster.UUID, error) {
			s, err := findSnapshot(ctx, c, ref)
			return s.ID, err
		},
		put: (*client.Client).PutSnapshotExport, get: (*client.Client).GetSnapshotExport,
		list: (*client.Client).ListSnapshotExports, drop: (*client.Client).DeleteSnapshotExport,
		dropAll: (*client.Client).DeleteSnapshotExports}
}

// commands are the commands that show it to hosts.
func (x exportable) commands(g *global) []*cobra.Command {
	return []*cobra.Command{x.allow(g), x.deny(g), x.exports(g), x.connect(g)}
}

func (x exportable) allow(g *global) *cobra.Command {
	var own bool
	c := &cobra.Command{
		Use:   "allow " + x.arg + " [HOSTNQN]",
		Short: "Allow a host to " + x.use + " a " + x.noun + ", and print how it connects",
		Example: fmt.Sprintf("  ashlar %[1]s allow %[2]s --this-host\n"+
			"  ashlar %[1]s allow %[2]s nqn.2014-08.org.nvmexpress:uuid:2cd2c43b-a90a-45c1-a8cd-86b33ab273b5", x.noun,
			x.example),
		Args: cobra.RangeArgs(1, 2),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			host, err := hostArgument(args, own)
			if err != nil {
				return err
			}
			id, err := x.find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			e, err := x.put(c, cmd.Context(), id, host)
			if err != nil {
				return err
			}
			r := exportResult{Export: e, Connect: ConnectLines(e)}
			return g.print(cmd, r, exportTable(r))
		}),
	}
	c.Flags().BoolVar(&own, "this-host", false, "the NQN in "+HostNQNFile)
	return c
}

func (x exportable) deny(g *global) *cobra.Command {
	var all, own bool
	c := &cobra.Command{
		Use: "deny " + x.arg + " [HOSTNQN]", Short: "Take a " + x.noun + " from a host; its connections are closed",
		Args: cobra.RangeArgs(1, 2),
		Example: fmt.Sprintf("  ashlar %[1]s deny %[2]s --this-host\n  ashlar %[1]s deny %[2]s --all", x.noun,
			x.example),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			id, err := x.find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if all {
				if len(args) > 1 || own {
					return usage("--all takes no host")
				}
				return x.dropAll(c, cmd.Context(), id)
			}
			host, err := hostArgument(args, own)
			if err != nil {
				return err
			}
			return x.drop(c, cmd.Context(), id, host)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "from all hosts")
	c.Flags().BoolVar(&own, "this-host", false, "the NQN in "+HostNQNFile)
	return c
}

func (x exportable) exports(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "exports " + x.arg, Short: "List the hosts that may " + x.use + " a " + x.noun,
		Args:    cobra.ExactArgs(1),
		Example: fmt.Sprintf("  ashlar %s exports %s", x.noun, x.example),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			id, err := x.find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			all, err := x.list(c, cmd.Context(), id)
			if err != nil {
				return err
			}
			t := table{head: []string{"HOST", "NQN", "PORTALS"}}
			for _, e := range all {
				var portals []string
				for _, p := range e.Portals {
					portals = append(portals, fmt.Sprintf("%s:%d", p.Address, p.Port))
				}
				t.add(e.Host, e.NQN, strings.Join(portals, ","))
			}
			return g.print(cmd, all, t)
		}),
	}
}

func (x exportable) connect(g *global) *cobra.Command {
	var run bool
	c := &cobra.Command{
		Use:   "connect " + x.arg,
		Short: "Print the commands that connect this host to a " + x.noun + ", or run them",
		Long: "Print the commands that connect this host to a " + x.noun + " it is allowed to " + x.use +
			", or run them with --run (needs root, nvme-cli and the kernel module nvme-tcp).",
		Example: fmt.Sprintf("  ashlar %[1]s allow %[2]s --this-host && sudo -E ashlar %[1]s connect %[2]s --run",
			x.noun, x.example),
		Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			host, err := HostNQN()
			if err != nil {
				return err
			}
			id, err := x.find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			e, err := x.get(c, cmd.Context(), id, host)
			if client.Is(err, wire.NotFound) {
				return missing("this host may not %s the %s; allow it: ashlar %s allow %s --this-host", x.use, x.noun,
					x.noun, args[0])
			}
			if err != nil {
				return err
			}
			if run {
				return connect(cmd, e)
			}
			var t table
			for _, line := range ConnectLines(e) {
				t.add(line)
			}
			return g.print(cmd, exportResult{Export: e, Connect: ConnectLines(e)}, t)
		}),
	}
	c.Flags().BoolVar(&run, "run", false, "run the commands")
	return c
}

// connect runs nvme-cli for every portal. One portal is enough to use the volume; the kernel adds the
// others as they come, so only a failure of all of them is an error.
func connect(cmd *cobra.Command, e wire.Export) error {
	var failed []error
	for _, p := range e.Portals {
		out, err := exec.CommandContext(cmd.Context(), "nvme", ConnectArgs(e, p)...).CombinedOutput()
		if err != nil {
			failed = append(failed, fmt.Errorf("portal %s:%d: %w: %s", p.Address, p.Port, err,
				strings.TrimSpace(string(out))))
			continue
		}
		_, _ = cmd.OutOrStdout().Write(out)
	}
	if len(failed) == len(e.Portals) {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "not connected:", err)
	}
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "connected; the device is the one that `nvme list -v` shows for %s "+
		"(/dev/disk/by-id/nvme-uuid.%s)\n", e.NQN, e.UUID)
	return nil
}

func volumeDisconnect(g *global) *cobra.Command {
	var run bool
	c := &cobra.Command{
		Use:   "disconnect VOLUME",
		Short: "Print the command that disconnects this host from a volume, or run it",
		Long: "Print the command that disconnects this host from a volume on all paths, or run it with --run " +
			"(needs root and nvme-cli). Unmount what is on it first. The host may connect again until " +
			"`ashlar volume deny`.",
		Example: "  sudo -E ashlar volume disconnect disk1 --run",
		Args:    cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			line := []string{"disconnect", "-n", v.NQN}
			if run {
				out, err := exec.CommandContext(cmd.Context(), "nvme", line...).CombinedOutput()
				if err != nil {
					return fmt.Errorf("nvme %s: %w: %s", strings.Join(line, " "), err, strings.TrimSpace(string(out)))
				}
				_, err = cmd.OutOrStdout().Write(out)
				return err
			}
			var t table
			t.add("nvme " + strings.Join(line, " "))
			return g.print(cmd, map[string]string{"disconnect": "nvme " + strings.Join(line, " ")}, t)
		}),
	}
	c.Flags().BoolVar(&run, "run", false, "run the command")
	return c
}
