// Command agent runs inside a guest, started by its init: it calls the test that started the guest and runs
// the scripts that it is sent (package control). Its one argument is ADDRESS/TOKEN.
package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/guest/control"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: agent ADDRESS/TOKEN")
	}
	address, token, ok := strings.Cut(os.Args[1], "/")
	if !ok {
		return fmt.Errorf("%q is not ADDRESS/TOKEN", os.Args[1])
	}
	conn, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		return fmt.Errorf("call the test: %w", err)
	}
	defer func() { _ = conn.Close() }()
	return control.Serve(conn, token)
}
