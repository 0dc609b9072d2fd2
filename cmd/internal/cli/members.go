package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// changeCommand makes a command that changes who belongs to a pool; devices are its arguments after the pool.
func changeCommand(g *global, kind cluster.ChangeKind, c *cobra.Command) *cobra.Command {
	var wait bool
	c.Args = cobra.MinimumNArgs(2)
	restFlag(c, &wait)
	c.RunE = g.run(func(cmd *cobra.Command, api *client.Client, args []string) error {
		devices, err := parseDevices(args[1:])
		if err != nil {
			return err
		}
		return g.change(cmd, api, args[0], wire.PoolChange{Kind: kind, Devices: devices}, wait)
	})
	return c
}

func restFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "wait", false,
		"wait until nothing moves and nothing lacks redundancy, and show how far that is")
}

// change changes who belongs to a pool, and waits for what moves because of that if asked to.
func (g *global) change(cmd *cobra.Command, api *client.Client, pool string, r wire.PoolChange,
	wait bool) error {
	p, err := api.ChangePool(cmd.Context(), pool, r)
	if err == nil && wait {
		p, err = awaitPool(cmd, api, pool, time.Second)
	}
	if err != nil {
		return err
	}
	return g.print(cmd, p, poolTable(p))
}

func parseDevices(args []string) ([]cluster.DeviceID, error) {
	out := make([]cluster.DeviceID, len(args))
	for i, a := range args {
		var err error
		if out[i], err = parseNumber[cluster.DeviceID]("device", a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func poolAddDevice(g *global) *cobra.Command {
	return changeCommand(g, cluster.ChangeAdd, &cobra.Command{
		Use: "add-device POOL DEVICE...", Short: "Let devices join a pool; volumes move their share to them",
		Long: "Let devices join a pool; volumes move their share to them, while hosts go on. Name all devices " +
			"of one event (those of a new node) at once: then nothing moves twice.",
		Example: "  ashlar pool add-device ec42 10 11 12\n  ashlar pool add-device ec42 10 11 12 --wait",
	})
}

func poolRemoveDevice(g *global) *cobra.Command {
	return changeCommand(g, cluster.ChangeRemove, &cobra.Command{
		Use: "remove-device POOL DEVICE...", Short: "Take devices from a pool; volumes move away from them",
		Long: "Take devices from a pool; volumes move away from them, while hosts go on. The devices are read " +
			"until nothing is on them: leave them where they are until no volume of the pool is moving. A device " +
			"that is lost already is `ashlar device fail`.",
		Example: "  ashlar pool remove-device ec42 3 --wait",
	})
}

func poolReweight(g *global) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use: "reweight POOL DEVICE WEIGHT", Short: "Give a device another share of a pool's data",
		Long: "Give a device another share of a pool's data. A weight is in units of 64 MiB; at first it is the " +
			"device's size.",
		Example: "  ashlar pool reweight ec42 3 64   # as if it had 4 GiB",
		Args:    cobra.ExactArgs(3),
		RunE: g.run(func(cmd *cobra.Command, api *client.Client, args []string) error {
			devices, err := parseDevices(args[1:2])
			if err != nil {
				return err
			}
			weight, err := strconv.ParseUint(args[2], 10, 32)
			if err != nil {
				return usage("%q is no weight", args[2])
			}
			return g.change(cmd, api, args[0], wire.PoolChange{Kind: cluster.ChangeReweight, Devices: devices,
				Weight: uint32(weight)}, wait)
		}),
	}
	restFlag(c, &wait)
	return c
}

func deviceFail(g *global) *cobra.Command {
	return deviceState(g, cluster.DeviceFailed, &cobra.Command{
		Use: "fail DEVICE --yes", Short: "Declare a device lost; its pools rebuild what it held",
		Long: "Declare a device lost: it leaves all its pools, and their volumes rebuild what it held on the " +
			"others. A device that merely does not answer needs no command: what it misses goes elsewhere " +
			"meanwhile, and home when it is back. After this it does not come back; a new disk in its place " +
			"becomes a new device.",
		Example: "  ashlar device fail 3 --yes",
	}, "this gives up what is on device %d for good, and its pools rebuild it elsewhere; repeat with --yes")
}

func deviceRemove(g *global) *cobra.Command {
	return deviceState(g, cluster.DeviceRemoved, &cobra.Command{
		Use: "remove DEVICE --yes", Short: "Forget a device that no pool and no volume uses any more",
		Example: "  ashlar device remove 3 --yes",
	}, "this removes device %d for good; repeat with --yes")
}

func deviceState(g *global, state cluster.DeviceState, c *cobra.Command, warning string) *cobra.Command {
	var sure bool
	c.Args = cobra.ExactArgs(1)
	c.RunE = g.run(func(cmd *cobra.Command, api *client.Client, args []string) error {
		number, err := parseNumber[cluster.DeviceID]("device", args[0])
		if err != nil {
			return err
		}
		if !sure {
			return usage(warning, number)
		}
		d, err := api.UpdateDevice(cmd.Context(), number, state)
		if err != nil {
			return err
		}
		return g.print(cmd, d, deviceTable(d))
	})
	c.Flags().BoolVar(&sure, "yes", false, "yes, for good")
	return c
}
