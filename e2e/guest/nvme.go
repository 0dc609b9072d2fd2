package guest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Until repeats a script in the guest, ten times a second, until it succeeds; it returns the last output.
func (g *Guest) Until(script string) string {
	g.t.Helper()
	return g.Must("until out=$(" + script + "\n); do sleep 0.1; done; echo \"$out\"")
}

// Portal is where a subsystem is reached, as the guest sees it.
type Portal struct {
	Addr string
	Port int
}

// Connect connects one path with nvme-cli and returns how that went. The path is retried every second and
// given up after a minute; the keep-alive timeout of 30 s is one that a busy test machine does not reach.
// More flags may say otherwise: of two the later counts.
func (g *Guest) Connect(nqn string, p Portal, flags ...string) Result {
	g.t.Helper()
	return g.Run(fmt.Sprintf("nvme connect -t tcp -a %s -s %d -n %s "+
		"--ctrl-loss-tmo=60 --reconnect-delay=1 --keep-alive-tmo=30 %s 2>&1",
		p.Addr, p.Port, nqn, strings.Join(flags, " ")))
}

// Device waits until the namespace of a connected subsystem has a block device and returns its path.
func (g *Guest) Device(nqn string) string {
	g.t.Helper()
	// Through sysfs, because nvme list opens the device, which can hang while no path is usable.
	return strings.TrimSpace(g.Until(`
for s in /sys/class/nvme-subsystem/*; do
    [ "$(cat $s/subsysnqn)" = '` + nqn + `' ] || continue
    for n in $s/nvme*n*; do
        n=${n##*/}
        case $n in *c*) continue;; esac
        [ -b /dev/$n ] && echo /dev/$n && exit 0
    done
done
exit 1`))
}

// Path is one controller of a subsystem, as the kernel sees it.
type Path struct {
	Name    string // nvme0
	Address string // traddr=…,trsvcid=…,src_addr=…
	State   string // live, connecting, resetting, deleting …
	ANA     string // optimized, non-optimized, inaccessible, change …; empty while it shows no namespace
}

// Paths returns the paths to a subsystem.
func (g *Guest) Paths(nqn string) []Path {
	g.t.Helper()
	out := g.Must(`
for c in /sys/class/nvme/nvme*; do
    [ -e $c/subsysnqn ] && [ "$(cat $c/subsysnqn)" = '` + nqn + `' ] || continue
    echo "${c##*/} $(cat $c/address) $(cat $c/state) $(cat $c/nvme*c*n*/ana_state 2>/dev/null)"
done`)
	var paths []Path
	for line := range strings.Lines(out) {
		f := append(strings.Fields(line), "", "", "", "")
		paths = append(paths, Path{f[0], f[1], f[2], f[3]})
	}
	return paths
}

// IOErrors returns the kernel's messages that tell of an I/O error seen above the NVMe driver, by a
// file system, or by a user. A path that fails and is retried on another one is not among them.
func (g *Guest) IOErrors() []string {
	g.t.Helper()
	var bad []string
	for line := range strings.Lines(g.Must("dmesg")) {
		for _, sign := range []string{"I/O error", "Buffer I/O", "EXT4-fs error", "EXT4-fs warning",
			"no available path - failing", "critical target error", "Oops", "BUG:", "WARNING:"} {
			if strings.Contains(line, sign) {
				bad = append(bad, strings.TrimSpace(line))
				break
			}
		}
	}
	return bad
}

// IOReport is the last line of what iotest prints; its fields are described there.
type IOReport struct {
	Writes     int
	Reads      int
	Errors     int
	Mismatches int
	First      string
	PauseUS    int64 `json:"pause_us"`
	PauseAtUS  int64 `json:"pause_at_us"`
	SlowestUS  int64 `json:"slowest_us"`
}

// Report decodes what a run of iotest ended with; a run without a report ends the test.
func (r Result) Report(g *Guest) IOReport {
	g.t.Helper()
	lines := strings.Split(strings.TrimSpace(r.Output), "\n")
	var report IOReport
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil {
		g.t.Fatalf("iotest gave no report (exit %d): %v\n%s", r.Code, err, r.Output)
	}
	return report
}

// Clean ends the test unless an iotest run was without a fault; it returns the report.
func (r Result) Clean(g *Guest) IOReport {
	g.t.Helper()
	report := r.Report(g)
	if r.Code != 0 || report.Errors+report.Mismatches > 0 {
		g.t.Fatalf("iotest failed (exit %d): %+v\n%s", r.Code, report, strings.Join(g.IOErrors(), "\n"))
	}
	return report
}
