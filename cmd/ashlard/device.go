package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

func deviceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "device",
		Short: "Look at a device while no daemon runs on it",
		Long: "Look at a device (a disk or file) while no daemon runs on it. A device that is in use is refused: " +
			"`ashlar device show` tells about those.\n\nExit status: 0 when all is well, 2 when a device is " +
			"damaged, 3 when there is no page store, or not the one that was asked for, 1 for every other failure.",
	}
	c.AddCommand(deviceCheck(), deviceDump(), deviceFormat(), deviceWipe())
	return c
}

// The exit statuses of the device commands.
const (
	exitFailed  = 1
	exitDamaged = 2
	exitForeign = 3
)

// exitStatus is that of an error. Damage counts more than anything else.
func exitStatus(err error) int {
	switch {
	case errors.Is(err, pagestore.ErrDamaged):
		return exitDamaged
	case errors.Is(err, pagestore.ErrForeign):
		return exitForeign
	}
	return exitFailed
}

// withDevice opens the device at path for as long as do runs.
func withDevice(path string, do func(blockdev.Device) error) error {
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{})
	if err != nil {
		return err
	}
	return errors.Join(do(dev), dev.Close())
}

// outputFlag adds --output and gives what checks it: whether JSON is wanted.
func outputFlag(c *cobra.Command) func() (bool, error) {
	output := c.Flags().StringP("output", "o", "text", "text or json")
	return func() (bool, error) {
		switch *output {
		case "text":
			return false, nil
		case "json":
			return true, nil
		}
		return false, fmt.Errorf("--output: %q is neither text nor json", *output)
	}
}

func indented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func deviceCheck() *cobra.Command {
	var data bool
	c := &cobra.Command{
		Use: "check PATH...", Short: "Verify every invariant of devices; changes nothing",
		Args: cobra.MinimumNArgs(1),
		Long: "Verify every invariant of devices: superblocks, checkpoint, log, block map (each block used once " +
			"or free); with --data the checksum of every block too. Bad blocks are reported but are no damage: " +
			"redundancy repairs them.\n\nExit status: 0 when all devices are sound, 2 when one is damaged, 3 when " +
			"one holds no page store, 1 when one cannot be looked at.",
		Example: "  ashlard device check --data /dev/nvme1n1\n" +
			"  ashlard device check -o json /srv/ashlar/disk* | jq '.[] | select(.sound | not)'",
	}
	asJSON := outputFlag(c)
	c.Flags().BoolVar(&data, "data", false, "read all data and verify its checksums")
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		var failed []error
		found := make([]checked, 0, len(args))
		for _, path := range args {
			x := checked{Path: path}
			err := withDevice(path, func(dev blockdev.Device) (err error) {
				x.Report, err = pagestore.Check(c.Context(), dev, pagestore.CheckOptions{Data: data})
				return err
			})
			if x.Sound = err == nil; err != nil {
				x.Error = err.Error()
				failed = append(failed, fmt.Errorf("%s: %w", path, err))
			}
			if !js {
				x.print(c.OutOrStdout())
			}
			found = append(found, x)
		}
		if js {
			failed = append(failed, indented(c.OutOrStdout(), found))
		}
		return errors.Join(failed...)
	}
	return c
}

// checked is what a check found of one device.
type checked struct {
	Path   string            `json:"path"`
	Sound  bool              `json:"sound"`
	Error  string            `json:"error,omitempty"`
	Report *pagestore.Report `json:"report,omitempty"`
}

// print is for people; what is wrong is printed as the command's error.
func (x *checked) print(w io.Writer) {
	rep := x.Report
	if rep == nil {
		return
	}
	for _, text := range rep.Warnings {
		_, _ = fmt.Fprintf(w, "%s: warning: %s\n", x.Path, text)
	}
	for _, text := range rep.BadData {
		_, _ = fmt.Fprintf(w, "%s: bad data: %s\n", x.Path, text)
	}
	if x.Sound {
		_, _ = fmt.Fprintf(w, "%s: device %v of cluster %v is sound: %d volumes, %d log records since the "+
			"checkpoint, %d bad blocks\n", x.Path, rep.DeviceUUID, rep.ClusterID, len(rep.Volumes), rep.LogRecords,
			max(uint64(len(rep.BadData)), rep.Usage.Bad))
	}
}

func deviceDump() *cobra.Command {
	var volume string
	var page int64
	var only []string
	c := &cobra.Command{
		Use: "dump PATH", Short: "Print everything on a device; changes nothing",
		Args: cobra.ExactArgs(1),
		Long: "Print what is on a device: superblocks, the records of the log since the checkpoint, metadata " +
			"records, volumes, and of each chunk every version that is held; not the data itself. Of a damaged " +
			"device what can be read comes before the error.\n\nA dump has a line or more for every block that is " +
			"held: choose with --only, --volume and --page. In JSON every item is an object of its own, one a line, " +
			"with its kind.",
		Example: "  ashlard device dump /dev/nvme1n1 --only superblock,volume\n" +
			"  ashlard device dump /dev/nvme1n1 --volume 7.1 --page 12 -o json",
	}
	asJSON := outputFlag(c)
	c.Flags().StringVar(&volume, "volume", "", "only what is about this volume, as VUID.GENERATION")
	c.Flags().Int64Var(&page, "page", -1, "only records and chunks of this page")
	c.Flags().StringSliceVar(&only, "only", nil, "only these kinds: "+strings.Join(pagestore.Kinds(), ", "))
	c.RunE = func(c *cobra.Command, args []string) error {
		o, err := dumpOptions(volume, page, only)
		if err != nil {
			return err
		}
		js, err := asJSON()
		if err != nil {
			return err
		}
		w := bufio.NewWriter(c.OutOrStdout())
		enc := json.NewEncoder(w)
		return withDevice(args[0], func(dev blockdev.Device) error {
			return errors.Join(pagestore.Dump(c.Context(), dev, o, func(x pagestore.Item) error {
				if !js {
					_, err := fmt.Fprintln(w, x)
					return err
				}
				return enc.Encode(struct {
					Kind string         `json:"kind"`
					Item pagestore.Item `json:"item"`
				}{x.Kind(), x})
			}), w.Flush())
		})
	}
	return c
}

func dumpOptions(volume string, page int64, only []string) (o pagestore.DumpOptions, err error) {
	if volume != "" {
		if o.Volume, err = cluster.ParseVolumeKey(volume); err != nil {
			return o, fmt.Errorf("--volume: %w", err)
		}
	}
	if page >= 0 {
		n := uint64(page)
		o.Page = &n
	}
	for _, kind := range only {
		if !strings.Contains(","+strings.Join(pagestore.Kinds(), ",")+",", ","+kind+",") {
			return o, fmt.Errorf("--only: %q is none of %s", kind, strings.Join(pagestore.Kinds(), ", "))
		}
		o.Kinds = append(o.Kinds, kind)
	}
	return o, nil
}

func deviceFormat() *cobra.Command {
	var id string
	var force, sure bool
	c := &cobra.Command{
		Use: "format PATH --cluster ID", Short: "Make an empty device a device of a cluster",
		Args: cobra.ExactArgs(1),
		Long: "Make an empty device a device of a cluster, ahead of `ashlar device add`, which does so itself " +
			"for empty ones. Asks before it writes anything, unless --yes is given.\n\nA device that holds anything " +
			"is refused, unless --force is given. One that is in use, mounted or part of another device is always " +
			"refused, and so is one of another cluster: if that cluster does not need it any more, `ashlard device " +
			"wipe` comes first.",
		Example: "  ashlard device format /dev/nvme1n1 --cluster 2b1c8e6e-3f0a-4a55-9d0e-0a6f6f2f7a10",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := cluster.ParseUUID(id)
			if err != nil {
				return fmt.Errorf("--cluster: %w; `ashlar status` shows the cluster's id", err)
			}
			o := pagestore.FormatOptions{ClusterID: cl, DeviceUUID: cluster.UUID(uuid.New()), Force: force}
			err = withDevice(args[0], func(dev blockdev.Device) error {
				what := fmt.Sprintf("%s (%d bytes) becomes an empty device of cluster %v", args[0],
					dev.Geometry().Size, cl)
				if force {
					what += ", whatever it holds"
				}
				if err := confirm(c, sure, what); err != nil {
					return err
				}
				return pagestore.Format(c.Context(), dev, o)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is device %v of cluster %v\n", args[0], o.DeviceUUID, cl)
			return err
		},
	}
	c.Flags().StringVar(&id, "cluster", "", "id of the cluster")
	c.Flags().BoolVar(&force, "force", false,
		"overwrite other data, or a device of this cluster: what it holds is lost")
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	_ = c.MarkFlagRequired("cluster")
	return c
}

func deviceWipe() *cobra.Command {
	var id string
	var sure bool
	c := &cobra.Command{
		Use: "wipe PATH --device UUID", Short: "Destroy the page store on a device, of whatever cluster",
		Args: cobra.ExactArgs(1),
		Long: "Destroy the page store on a device, of whatever cluster, so that the device counts as empty: what " +
			"it holds is lost. It has to be named by its UUID, which `ashlard device check` prints, so that nobody " +
			"wipes the wrong disk. A device of a cluster that lives is removed there first: `ashlar device " +
			"remove`.\n\nThe data blocks stay on the medium until they are overwritten: this is no secure erase.",
		Example: "  ashlard device wipe /dev/nvme1n1 --device 5f0f6a4e-6b2c-4d0b-8f6e-6f7a10c2b1e3",
		RunE: func(c *cobra.Command, args []string) error {
			device, err := cluster.ParseUUID(id)
			if err != nil {
				return fmt.Errorf("--device: %w", err)
			}
			err = withDevice(args[0], func(dev blockdev.Device) error {
				what := fmt.Sprintf("%s loses all that device %v holds", args[0], device)
				if err := confirm(c, sure, what); err != nil {
					return err
				}
				return pagestore.Wipe(c.Context(), dev, device)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is no device of a cluster any more\n", args[0])
			return err
		},
	}
	c.Flags().StringVar(&id, "device", "", "UUID of the device that is there")
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	_ = c.MarkFlagRequired("device")
	return c
}

// confirm asks whether something is to be done, unless somebody is sure.
func confirm(c *cobra.Command, sure bool, what string) error {
	if sure {
		return nil
	}
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s. Type yes to go on: ", what)
	answer, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was changed; scripts give --yes")
	}
	return nil
}
