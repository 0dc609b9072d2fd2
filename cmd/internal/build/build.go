// Package build says what a program was built from: what the Go linker recorded, so nothing needs to be
// kept in step.
package build

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Version is the build of the running program.
func Version() wire.Version {
	v := wire.Version{Version: "devel", API: "v1", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if v.Commit != "" && modified {
		v.Commit += "+modified"
	}
	return v
}

// Line is Version for people.
func Line(program string) string {
	v := Version()
	commit := v.Commit
	if commit == "" {
		commit = "unknown"
	}
	return fmt.Sprintf("%s %s (commit %s, API %s, %s)", program, v.Version, commit, v.API, v.Go)
}
