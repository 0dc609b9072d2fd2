// Command ashlar is the command line of an Ashlar cluster (cmd/internal/cli), and `ashlar dev`, which runs
// one on this machine to try things out (cmd/internal/dev).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ashlar-storage/ashlar/cmd/internal/cli"
	"github.com/ashlar-storage/ashlar/cmd/internal/dev"
	"github.com/ashlar-storage/ashlar/cmd/internal/manual"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	if err := cli.New(dev.Command(), manual.Command()).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ashlar:", cli.Explain(err))
		os.Exit(cli.ExitStatus(err))
	}
}
