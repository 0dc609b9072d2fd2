package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

func keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Cluster keys in a key file"}
	c.AddCommand(keyAdd())
	return c
}

func keyAdd() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "add [ID]",
		Short: "Draw a cluster key and put it into the key file",
		Long: "Draw a cluster key and put it into the key file, which is made if there is none. The id is " +
			"today's date if none is given. The same file, or the same line, belongs on every node; then `ashlar " +
			"key rotate --to ID` puts the key to use. Keep a copy elsewhere: without it, what it protects is lost.",
		Example: "  ashlard key add --file /etc/ashlar/keys 2026-11",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if file == "" {
				v, err := readSettings(c.Flags())
				if err != nil {
					return err
				}
				if file = v.GetString("key-file"); file == "" {
					return errors.New("--file: not given, and the setting key-file is empty")
				}
			}
			id := time.Now().UTC().Format(time.DateOnly)
			if len(args) == 1 {
				id = args[0]
			}
			k, err := seal.NewClusterKey(rand.Reader)
			if err != nil {
				return err
			}
			if err := (keyring.File{Path: file}).Add(id, k); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "key %s is in %s\n", id, file)
			return err
		},
	}
	c.Flags().StringVar(&file, "file", "", "the key file (default: the setting key-file)")
	return c
}
