package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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
			"`ashlar device show` tells about those.",
	}
	c.AddCommand(deviceDescribe(), deviceCheck(), deviceFormat())
	return c
}

// withDevice opens the device at path for as long as do runs.
func withDevice(path string, do func(blockdev.Device) error) error {
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{})
	if err != nil {
		return err
	}
	return errors.Join(do(dev), dev.Close())
}

func deviceDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe PATH", Short: "Print what a device is and holds, as JSON; changes nothing",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withDevice(args[0], func(dev blockdev.Device) error {
				rep, err := pagestore.Check(c.Context(), dev, pagestore.CheckOptions{})
				if rep == nil {
					return err
				}
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return errors.Join(enc.Encode(rep), err)
			})
		},
	}
}

func deviceCheck() *cobra.Command {
	var data bool
	c := &cobra.Command{
		Use: "check PATH...", Short: "Verify every invariant of devices; changes nothing",
		Args: cobra.MinimumNArgs(1),
		Long: "Verify every invariant of devices: superblocks, checkpoint, log, block map; with --data the " +
			"checksum of every block too. Fails when a device is damaged. Bad blocks are reported but are no " +
			"damage: redundancy repairs them.",
		RunE: func(c *cobra.Command, args []string) error {
			var failed []error
			for _, path := range args {
				err := withDevice(path, func(dev blockdev.Device) error {
					return checkDevice(c.Context(), c.OutOrStdout(), path, dev, data)
				})
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", path, err))
				}
			}
			return errors.Join(failed...)
		},
	}
	c.Flags().BoolVar(&data, "data", false, "read all data and verify its checksums")
	return c
}

func checkDevice(ctx context.Context, w io.Writer, path string, dev blockdev.Device, data bool) error {
	rep, err := pagestore.Check(ctx, dev, pagestore.CheckOptions{Data: data})
	if rep != nil {
		for _, x := range rep.Warnings {
			_, _ = fmt.Fprintf(w, "%s: warning: %s\n", path, x)
		}
		for _, x := range rep.BadData {
			_, _ = fmt.Fprintf(w, "%s: bad data: %s\n", path, x)
		}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w,
		"%s: device %v of cluster %v is sound: %d volumes, %d log records since the checkpoint, "+
			"%d bad blocks\n", path, rep.DeviceUUID, rep.ClusterID, len(rep.Volumes), rep.LogRecords, len(rep.BadData))
	return err
}

func deviceFormat() *cobra.Command {
	var id string
	var force, foreign bool
	c := &cobra.Command{
		Use: "format PATH --cluster ID", Short: "Make an empty device a device of a cluster",
		Args: cobra.ExactArgs(1),
		Long: "Make an empty device a device of a cluster, ahead of `ashlar device add`, which does so itself. " +
			"What holds anything is refused unless forced.",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := cluster.ParseUUID(id)
			if err != nil {
				return fmt.Errorf("--cluster: %w; `ashlar status` shows the cluster's id", err)
			}
			o := pagestore.FormatOptions{ClusterID: cl, DeviceUUID: cluster.UUID(uuid.New()), Force: force,
				ForceForeign: foreign}
			err = withDevice(args[0], func(dev blockdev.Device) error { return pagestore.Format(c.Context(), dev, o) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is device %v of cluster %v\n", args[0], o.DeviceUUID, cl)
			return err
		},
	}
	c.Flags().StringVar(&id, "cluster", "", "id of the cluster")
	c.Flags().BoolVar(&force, "force", false,
		"overwrite other data, or a device of this cluster: its data is lost")
	c.Flags().BoolVar(&foreign, "force-foreign", false,
		"overwrite a device of another cluster: its data is lost")
	_ = c.MarkFlagRequired("cluster")
	return c
}
