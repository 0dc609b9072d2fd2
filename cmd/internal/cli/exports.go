package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

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

func volumeAllow(g *global) *cobra.Command {
	var own bool
	c := &cobra.Command{
		Use:   "allow VOLUME [HOSTNQN]",
		Short: "Allow a host to use a volume, and print how it connects",
		Example: "  ashlar volume allow disk1 --this-host\n" +
			"  ashlar volume allow disk1 nqn.2014-08.org.nvmexpress:uuid:2cd2c43b-a90a-45c1-a8cd-86b33ab273b5",
		Args: cobra.RangeArgs(1, 2),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			host, err := hostArgument(args, own)
			if err != nil {
				return err
			}
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			e, err := c.PutExport(cmd.Context(), v.ID, host)
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

func volumeExports(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "exports VOLUME", Short: "List the hosts that may use a volume", Args: cobra.ExactArgs(1),
		Example: "  ashlar volume exports disk1",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			all, err := c.ListExports(cmd.Context(), v.ID)
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

func volumeConnect(g *global) *cobra.Command {
	var run bool
	c := &cobra.Command{
		Use:   "connect VOLUME",
		Short: "Print the commands that connect this host to a volume, or run them",
		Long: "Print the commands that connect this host to a volume it is allowed to use, or run them with " +
			"--run (needs root, nvme-cli and the kernel module nvme-tcp).",
		Example: "  ashlar volume allow disk1 --this-host && sudo -E ashlar volume connect disk1 --run",
		Args:    cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			host, err := HostNQN()
			if err != nil {
				return err
			}
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			e, err := c.GetExport(cmd.Context(), v.ID, host)
			if client.Is(err, wire.NotFound) {
				return missing("this host may not use the volume; allow it: ashlar volume allow %s --this-host", args[0])
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
