package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/cmd/internal/cli"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// present allows this host and prints what there is and what can be done with it.
func (d *devCluster) present(ctx context.Context, v wire.Volume, endpoints []string) error {
	took := time.Since(d.started)
	if d.host == "" {
		d.host, _ = cli.HostNQN()
	}
	var e wire.Export
	if d.host != "" {
		err := d.retry(ctx, "allow this host", func() (err error) {
			e, err = d.api.PutExport(ctx, v.ID, d.host)
			return err
		})
		if err != nil {
			return err
		}
	}
	env, err := d.writeEnv(endpoints)
	if err != nil {
		return err
	}
	var b strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	line("")
	line("  first volume after %.1f s", took.Seconds())
	line("")
	line("  API         %s", strings.Join(endpoints, " "))
	line("  token       %s", d.token)
	line("  pool        %s: %d copies on %d nodes with %d disks of %d MiB each", poolName, copies, nodeCount,
		d.state.Disks, d.state.DiskSize>>20)
	d.presentCoded(line)
	line("  volume      %s: %s, %d MiB", volumeName, v.ID, v.Size>>20)
	for _, n := range d.nodes {
		line("  %s       pid %d, log %s", nodeName(n.number), n.pid.Load(), n.logFile())
	}
	line("")
	if d.host == "" {
		line("  This host has no NQN yet, so the volume is allowed to nobody:")
		line("    nvme gen-hostnqn | sudo tee %s", cli.HostNQNFile)
		line("    %s volume allow %s --this-host", program(), volumeName)
	} else {
		line("  Connect this host (%s), as root:", d.host)
		for _, l := range cli.ConnectLines(e) {
			line("    %s", l)
		}
	}
	line("")
	d.nextSteps(line, env)
	line("")
	line("  Ctrl-C stops the cluster.")
	d.say("%s", b.String())
	return nil
}

// presentCoded tells of the pool of an erasure code, or why there is none.
func (d *devCluster) presentCoded(line func(string, ...any)) {
	if d.state.coded() {
		line("  pool        %s: rs %d+%d on the same disks, no two chunks of a page on one: any %d disks may be "+
			"lost", codedPool, codedData, codedLost, codedLost)
	} else {
		line("  no pool %s: rs %d+%d needs %d disks (--fresh --disks 3)", codedPool, codedData, codedLost,
			codedData+codedLost)
	}
}

func (d *devCluster) nextSteps(line func(string, ...any), env string) {
	line("  Next, in another terminal:")
	line("    source %s", env)
	line("    %s status", program())
	line("    %s volume create disk2 --pool %s --size 1GiB", program(), poolName)
	line("    %s volume create sealed --pool %s --size 1GiB --encryption aes-256-xts", program(), poolName)
	if d.state.coded() {
		line("    %s volume create disk3 --pool %s --size 1GiB", program(), codedPool)
		line("    %s pool create my42 --code rs --data 4 --parity 2 --domain device  # one more like it",
			program())
		line("    %s pool create node42 --code rs --data 4 --parity 2 --relax  # 2 chunks on each node", program())
	}
	line("    kill -9 %d        # lose node 2, which comes back after %v: volumes of pool %s go on%s",
		d.nodes[1].pid.Load(), restartAfter, poolName, d.codedWithoutNode())
}

// codedWithoutNode tells what the loss of a node means for the pool of an erasure code.
func (d *devCluster) codedWithoutNode() string {
	switch {
	case !d.state.coded():
		return ""
	case d.state.Disks <= codedLost:
		return fmt.Sprintf(", those of %s too", codedPool)
	default:
		return fmt.Sprintf(", those of %s may wait (%d disks are gone)", codedPool, d.state.Disks)
	}
}

// program is how this program was called.
func program() string {
	if strings.Contains(os.Args[0], "/") {
		return os.Args[0]
	}
	return "ashlar"
}

// writeEnv writes the shell lines that point the command line at the cluster.
func (d *devCluster) writeEnv(endpoints []string) (string, error) {
	path := filepath.Join(d.dir, "env")
	text := fmt.Sprintf("export ASHLAR_ENDPOINT=%s\nexport ASHLAR_TOKEN_FILE=%s\n",
		quote(strings.Join(endpoints, ",")),
		quote(filepath.Join(d.nodes[0].dataDir(), "admin-token")))
	if d.tls {
		text += "export ASHLAR_CA_FILE=" + quote(d.authorityFile()) + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", errors.Join(errors.New("write env file"), err)
	}
	return path, nil
}

// quote makes s one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
