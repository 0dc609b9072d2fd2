// Command serve is the agent of package loophost:
//
//	serve -socket PATH -mounts DIR
//
// It has to have a mount namespace of its own. SIGTERM ends it, and all of its devices.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/ashlar-storage/ashlar/e2e/loophost"
)

func main() {
	socket := flag.String("socket", "", "`path` of the Unix socket to listen on")
	mounts := flag.String("mounts", "", "empty `directory` for mounts")
	flag.Parse()
	if err := serve(*socket, *mounts); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func serve(socket, mounts string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(err, ln.Close())
	}
	agent := loophost.NewAgent(mounts)
	server := &http.Server{Handler: agent}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	return errors.Join(err, server.Close(), agent.Close())
}
