package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/cmd/internal/build"
	"github.com/ashlar-storage/ashlar/cmd/internal/diagnose"
	"github.com/ashlar-storage/ashlar/cmd/internal/redact"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func supportCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "support", Short: "What others need to find out what is wrong"}
	c.AddCommand(supportBundle(g))
	return c
}

func supportBundle(g *global) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "bundle", Short: "Collect what every node knows into one archive, without secrets",
		Args: cobra.NoArgs,
		Long: "Collect what the cluster and every node know into one tar.gz: versions, settings, the cluster " +
			"map, health, statistics, logs of late, goroutines. Tokens, keys, passwords and the metadata of " +
			"volumes are taken out; names of volumes, hosts and addresses stay. A node that does not answer is " +
			"named in errors.txt. Needs an admin token.",
		Example: "  ashlar support bundle\n  ashlar support bundle --file /tmp/ashlar.tar.gz",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			now := time.Now().UTC()
			if file == "" {
				file = "ashlar-support-" + now.Format("20060102-150405") + ".tar.gz"
			}
			f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return fmt.Errorf("support bundle: %w", err)
			}
			b := &bundle{redact: redact.New(g.secrets()...), at: now, progress: progress{w: cmd.ErrOrStderr()}}
			err = errors.Join(b.write(cmd.Context(), c, f), f.Close())
			b.progress.end()
			if err != nil {
				return errors.Join(fmt.Errorf("support bundle: %w", err), os.Remove(file))
			}
			for _, e := range b.failed {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "left out:", e)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), file)
			return err
		}),
	}
	c.Flags().StringVarP(&file, "file", "f", "", "file to write (default ashlar-support-TIME.tar.gz here)")
	return c
}

// bundle is an archive being written.
type bundle struct {
	redact   *redact.Redactor
	at       time.Time
	progress progress
	archive  *tar.Writer
	failed   []string
}

// write collects everything. An error is one of the file; what cannot be had is in failed.
func (b *bundle) write(ctx context.Context, c *client.Client, w io.Writer) error {
	gz := gzip.NewWriter(w)
	b.archive = tar.NewWriter(gz)
	nodes, err := c.AllNodes(ctx)
	if client.Is(err, wire.Unauthenticated, wire.Forbidden) {
		return err
	}
	b.note("nodes", err)
	if err := b.cluster(ctx, c, nodes); err != nil {
		return err
	}
	for i, n := range nodes {
		b.progress.show(float64(i)/float64(len(nodes)), "node "+n.Name)
		raw, err := c.GetDiagnostics(ctx, n.Number)
		if client.Is(err, wire.Unauthenticated, wire.Forbidden) {
			return err
		}
		if err == nil {
			err = b.take(fmt.Sprintf("node-%d", n.Number), raw)
		}
		b.note("node "+n.Name, err)
	}
	b.progress.show(1, "done")
	text := ""
	for _, e := range b.failed {
		text += e + "\n"
	}
	if err := b.add("errors.txt", []byte(text)); err != nil {
		return err
	}
	return errors.Join(b.archive.Close(), gz.Close())
}

func (b *bundle) note(what string, err error) {
	if err != nil {
		b.failed = append(b.failed, b.redact.Text(what+": "+err.Error()))
	}
}

// cluster adds what any node tells of all.
func (b *bundle) cluster(ctx context.Context, c *client.Client, nodes []wire.Node) error {
	for _, x := range []struct {
		name string
		get  func() (any, error)
	}{
		{"versions", func() (any, error) {
			v, err := c.GetVersion(ctx)
			return map[string]wire.Version{"client": build.Version(), "node": v}, err
		}},
		{"health", func() (any, error) { return c.GetHealth(ctx) }},
		{"cluster", func() (any, error) { return c.GetCluster(ctx) }},
		{"nodes", func() (any, error) { return nodes, nil }},
		{"devices", func() (any, error) { return c.AllDevices(ctx, 0) }},
		{"pools", func() (any, error) { return c.AllPools(ctx) }},
		{"volumes", func() (any, error) {
			volumes, err := c.AllVolumes(ctx, "", "")
			for i := range volumes {
				volumes[i].Metadata = nil
			}
			return volumes, err
		}},
		{"statistics", func() (any, error) { return poolStatistics(ctx, c) }},
	} {
		value, err := x.get()
		if err != nil {
			b.note(x.name, err)
			continue
		}
		raw, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		if err := b.add(x.name+".json", raw); err != nil {
			return err
		}
	}
	return nil
}

// poolStatistics is the last hour of every pool.
func poolStatistics(ctx context.Context, c *client.Client) (map[string]wire.Statistics, error) {
	pools, err := c.AllPools(ctx)
	out := make(map[string]wire.Statistics)
	for _, p := range pools {
		if err == nil {
			out[p.Name], err = c.GetPoolStatistics(ctx, p.Name, time.Hour)
		}
	}
	return out, err
}

// take adds the files of a node's archive. They have passed the node's redactor; ours knows other secrets.
func (b *bundle) take(dir string, raw []byte) error {
	gz, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	files := tar.NewReader(gz)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(files, maxPart))
		if err != nil {
			return err
		}
		if err := b.add(path.Join(dir, path.Base(h.Name)), data); err != nil {
			return err
		}
	}
}

// maxPart bounds one file of a node's archive.
const maxPart = 256 << 20

func (b *bundle) add(name string, data []byte) error {
	return diagnose.Add(b.archive, name, []byte(b.redact.Text(string(data))), b.at)
}
