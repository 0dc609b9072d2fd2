// Command ashlard is the daemon of an Ashlar node: `ashlard run` serves the node's devices, volumes and API
// until it is told to stop; `ashlard device` looks at devices while no daemon runs on them.
//
// It has no state of its own beyond cmd/internal/daemon, which says what a node keeps on disk and in which
// order its parts start and stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/ashlar-storage/ashlar/cmd/internal/build"
	"github.com/ashlar-storage/ashlar/cmd/internal/daemon"
	"github.com/ashlar-storage/ashlar/cmd/internal/manual"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once, which is safe
	}()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ashlard:", err)
		os.Exit(exitStatus(err))
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "ashlard",
		Short:         "Daemon of an Ashlar storage node",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.AddCommand(runCommand(), settingsCommand(), deviceCommand(), keyCommand(), versionCommand(),
		manual.Command())
	return c
}

func runCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the node until SIGTERM",
		Long: "Run the node until SIGTERM. The first start needs --bootstrap or --join; later starts need " +
			"neither and ignore both.\n\nEvery setting may also stand in the configuration file, or in the " +
			"environment as ASHLARD_<NAME> (ASHLARD_REST_PORT, ASHLARD_TOKEN ...). `ashlard settings` explains them.",
		Example: "  # the first node of a new cluster\n" +
			"  ashlard run --bootstrap --data-dir /var/lib/ashlar\n\n" +
			"  # a further node; `ashlar node join-token` prints the token\n" +
			"  ASHLARD_TOKEN=ashlar... ashlard run --join http://192.0.2.1:7443 --listen-address 192.0.2.2 --insecure-http",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v, err := readSettings(c.Flags())
			if err != nil {
				return err
			}
			o, err := options(v)
			if err != nil {
				return err
			}
			if o.First, err = firstStart(v); err != nil {
				return err
			}
			o.Version, o.NewDataPlane = build.Version(), daemon.NewNode
			return daemon.Run(c.Context(), o)
		},
	}
	addFlags(c.Flags())
	c.Flags().Bool("bootstrap", false, "first start: found a new cluster")
	c.Flags().String("cluster-name", "", "first start with --bootstrap: name of the cluster, for people")
	c.Flags().Bool("encrypt-nodes", false, "first start with --bootstrap: nodes of this cluster talk to each "+
		"other and to their etcd over TLS, for good; see docs/security.md for its price")
	c.Flags().StringSlice("join", nil, "first start: join the cluster of these nodes (http://NODE:7443,...)")
	c.Flags().String("token", "",
		"first start with --join: the join token (better: ASHLARD_TOKEN or --token-file)")
	c.Flags().String("ca-fingerprint", "", "first start with --join: fingerprint of the cluster's authority "+
		"(sha256:...), when its API is encrypted by that")
	c.Flags().String("token-file", "", "first start with --join: file that holds the join token")
	return c
}

func firstStart(v *viper.Viper) (daemon.First, error) {
	f := daemon.First{Bootstrap: v.GetBool("bootstrap"), ClusterName: v.GetString("cluster-name"),
		EncryptNodes: v.GetBool("encrypt-nodes"),
		JoinURLs:     v.GetStringSlice("join"), JoinToken: v.GetString("token"),
		CAFingerprint: v.GetString("ca-fingerprint")}
	if file := v.GetString("token-file"); file != "" {
		if f.JoinToken != "" {
			return f, errors.New("token and token-file exclude each other")
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return f, fmt.Errorf("token-file: %w", err)
		}
		f.JoinToken = strings.TrimSpace(string(raw))
	}
	return f, nil
}

func settingsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "settings",
		Short: "Print every setting with its default and the reason for it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(c.OutOrStdout(), settingsTable())
			return err
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this program was built from",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), build.Line("ashlard"))
			return err
		},
	}
}
