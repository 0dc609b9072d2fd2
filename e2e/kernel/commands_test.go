//go:build e2e

package kernel

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/guest"
	"github.com/ashlar-storage/ashlar/e2e/wire"
)

// TestCommands sends every command that nvme-cli has for a volume like ours, without and with digests, and
// has Wireshark judge the second conversation.
func TestCommands(t *testing.T) {
	for _, digests := range []string{"", "-g -G"} {
		t.Run("flags "+digests, func(t *testing.T) {
			s := serve(t, 2, 64<<20)
			capture := filepath.Join(t.TempDir(), "wire.pcap")
			g := guest.Start(t, guest.Options{Capture: capture})
			discover(t, g, s)
			dev := s.attach(g, digests)
			ctrl := strings.TrimSuffix(dev, "n1")
			identify(t, g, ctrl, dev)
			if digests == "" { // hundreds of calls that look alike: once is enough
				logPages(t, g, ctrl)
				features(t, g, ctrl)
			}
			dataCommands(t, g, dev)
			refusals(t, g, ctrl, dev)
			detach(g, t)
			g.Stop()

			verdict, err := wire.Judge(capture, s.portals[0].Port, s.portals[1].Port)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("Wireshark: %+v", verdict)
			if verdict.BadDigests+len(verdict.Malformed)+verdict.Terminated > 0 {
				t.Errorf("Wireshark objects: %+v", verdict)
			}
			if digests != "" && verdict.Digests == 0 {
				t.Error("no digest on the wire")
			}
		})
	}
}

func discover(t *testing.T, g *guest.Guest, s *served) {
	t.Helper()
	for _, portal := range s.portals {
		out := g.Must(fmt.Sprintf("nvme discover -t tcp -a %s -s %d", portal.Addr, portal.Port))
		for _, p := range s.portals {
			if !strings.Contains(out, fmt.Sprintf("trsvcid: %d", p.Port)) {
				t.Errorf("discovery at port %d does not name port %d:\n%s", portal.Port, p.Port, out)
			}
		}
		if !strings.Contains(out, volumeNQN) {
			t.Errorf("discovery does not name the volume:\n%s", out)
		}
	}
}

// fields decodes what nvme-cli prints with -o json, which must contain the values wanted.
func fields(t *testing.T, g *guest.Guest, command string, want map[string]any) {
	t.Helper()
	out := g.Must(command + " -o json")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
		return
	}
	for name, w := range want {
		if fmt.Sprint(got[name]) != fmt.Sprint(w) {
			t.Errorf("%s: %s is %v, want %v", command, name, got[name], w)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

func identify(t *testing.T, g *guest.Guest, ctrl, dev string) {
	t.Helper()
	hex := strings.ReplaceAll(volumeUUID, "-", "")
	fields(t, g, "nvme id-ctrl "+ctrl, map[string]any{
		"subnqn": volumeNQN, "cntrltype": 1, "nn": 1, "vwc": flushesAll,
		"cmic": 0b1011, // several ports, several controllers, ANA
	})
	fields(t, g, "nvme id-ns "+dev, map[string]any{
		"nsze": 64 << 11, "ncap": 64 << 11, "nlbaf": 0, "flbas": 0,
		"nmic": 1, "npwg": 7, "npwa": 7, "nows": 7, "nguid": hex,
	})
	out := g.Must("nvme ns-descs " + dev + " -n 1")
	if strings.Count(out, volumeUUID) == 0 || strings.Count(out, hex) == 0 {
		t.Errorf("the descriptors lack the UUID or the NGUID:\n%s", out)
	}
	if out := g.Must("nvme list-ns " + ctrl); !strings.Contains(out, "0x1") {
		t.Errorf("list-ns:\n%s", out)
	}
	for file, want := range map[string]string{
		"uuid": volumeUUID, "queue/logical_block_size": "512",
		"queue/minimum_io_size": "4096", "queue/optimal_io_size": "4096", "queue/write_cache": "write through",
	} {
		got := strings.TrimSpace(g.Must("cat /sys/block/" + filepath.Base(dev) + "/" + file))
		if got != want {
			t.Errorf("the block layer's %s is %q, want %q", file, got, want)
		}
	}
	t.Logf("%s", g.Must("nvme get-property -H -o 0 "+ctrl+"; nvme get-property -H -o 0x1c "+ctrl+
		"; nvme list; nvme list-subsys"))
}

// flushesAll is VWC (base specification, Identify Controller) of a controller that has no volatile write
// cache (bit 0) and takes a Flush for all namespaces (bits 2:1).
const flushesAll = 0b110

// logPages reads every page that nvme-cli knows, then every number there is: an unknown page is an error
// status, never the end of the connection.
func logPages(t *testing.T, g *guest.Guest, ctrl string) {
	t.Helper()
	for _, command := range []string{"error-log", "smart-log", "changed-ns-list-log", "effects-log", "ana-log",
		"fw-log", "supported-log-pages"} {
		if r := g.Run("nvme " + command + " " + ctrl + " 2>&1"); r.Code != 0 {
			t.Errorf("nvme %s: exit %d\n%s", command, r.Code, r.Output)
		}
	}
	out := g.Must(`
for id in $(seq 0 255); do
    if nvme get-log ` + ctrl + ` -i $id -l 512 -b >/dev/null 2>/tmp/said; then echo "page $id"
    else grep -q 'status: Invalid Log Page' /tmp/said || echo "page $id: $(cat /tmp/said)"; fi
done`)
	t.Logf("log pages: %s", strings.ReplaceAll(strings.TrimSpace(out), "\npage", ""))
	if strings.Contains(out, ":") {
		t.Errorf("a page that is not there is refused in another way:\n%s", out)
	}
	live(t, g)
}

// features reads every feature number in each of its flavours.
func features(t *testing.T, g *guest.Guest, ctrl string) {
	t.Helper()
	out := g.Must(`
for id in $(seq 1 32) $(seq 120 135); do
    nvme get-feature ` + ctrl + ` -f $id 2>&1 | head -1
done`)
	t.Logf("features:\n%s", out)
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "get-feature:0x") && !strings.Contains(line, "Invalid Field") {
			t.Errorf("feature: %s", line)
		}
	}
	// Of the host identifier a fabrics controller has only the extended form, EXHID.
	out = g.Must("nvme get-feature " + ctrl + " -f 0x81 -c 1 -l 16 -b | xxd -p")
	if strings.TrimSpace(out) != strings.ReplaceAll(guest.HostID, "-", "") {
		t.Errorf("the host identifier comes back as %s", out)
	}
	if r := g.Run("nvme set-feature " + ctrl + " -f 0x0b -v 0x900 2>&1"); r.Code != 0 {
		t.Errorf("set the events that are reported: %s", r.Output)
	}
	live(t, g)
}

// dataCommands moves data with each I/O command and reads back what it did.
func dataCommands(t *testing.T, g *guest.Guest, dev string) {
	t.Helper()
	g.Must("tr '\\0' x </dev/zero | head -c 4096 >/tmp/x; tr '\\0' y </dev/zero | head -c 4096 >/tmp/y")
	io := func(command string, lba, blocks int, more string) string {
		return fmt.Sprintf("nvme %s %s -s %d -c %d %s 2>&1", command, dev, lba, blocks-1, more)
	}
	read := func(lba, blocks int) string {
		return io("read", lba, blocks, fmt.Sprintf("-z %d -d /tmp/got >/dev/null", blocks*512))
	}
	for _, step := range []struct{ name, script, output string }{
		{"write", io("write", 8, 8, "-z 4096 -d /tmp/x"), "Success"},
		{"read", read(8, 8) + "; cmp /tmp/got /tmp/x && echo same", "same"},
		{"compare equal", io("compare", 8, 8, "-z 4096 -d /tmp/x"), "Success"},
		{"compare differing", io("compare", 8, 8, "-z 4096 -d /tmp/y"), "Compare Failure"},
		{"verify", io("verify", 8, 8, ""), "Success"},
		{"flush", "nvme flush " + dev + " -n 1 2>&1", "success"},
		{"write one sector inside a block", io("write", 10, 1, "-z 512 -d /tmp/y"), "Success"},
		{"its neighbours stay", read(8, 8) + "; tr -d '\\n' </tmp/got | tr -s xy", "xyx"},
		{"write zeroes", io("write-zeroes", 9, 2, ""), "Success"},
		{"zeroes are read", read(9, 2) + "; tr -d '\\0' </tmp/got | wc -c", "0"},
		{"the rest stays", read(11, 1) + "; tr -s x </tmp/got", "x"},
		{"deallocate", "nvme dsm " + dev + " -d -s 8,16 -b 8,8 2>&1", "success"},
		{"deallocated blocks read zero", read(8, 16) + "; tr -d '\\0' </tmp/got | wc -c", "0"},
		{"write zeroes with deallocate", io("write-zeroes", 0, 64, "-d"), "Success"},
		{"discard through the block layer", "blkdiscard -o 4096 -l 8192 " + dev + " && echo done", "done"},
		{"write more than fits a capsule", "head -c 131072 /dev/urandom >/tmp/big;" +
			io("write", 1000, 256, "-z 131072 -d /tmp/big"), "Success"},
		{"read it back", read(1000, 256) + "; cmp /tmp/got /tmp/big && echo same", "same"},
		{"last sector", io("write", 64<<11-1, 1, "-z 512 -d /tmp/x"), "Success"},
	} {
		if r := g.Run(step.script); !strings.Contains(r.Output, step.output) {
			t.Errorf("%s: no %q in the output, exit %d:\n%s", step.name, step.output, r.Code, r.Output)
		}
	}
	live(t, g)
}

// refusals sends commands that must fail, each with its own status and without harm to the connection.
func refusals(t *testing.T, g *guest.Guest, ctrl, dev string) {
	t.Helper()
	end := fmt.Sprint(64 << 11)
	for _, step := range []struct{ name, script, output string }{
		{"read beyond the end", "nvme read " + dev + " -s " + end + " -c 0 -z 512 -d /tmp/got", "LBA Out of Range"},
		{"write across the end", "nvme write " + dev + " -s " + fmt.Sprint(64<<11-1) + " -c 1 -z 1024 -d /tmp/big",
			"LBA Out of Range"},
		{"deallocate beyond the end", "nvme dsm " + dev + " -d -s " + end + " -b 8", "LBA Out of Range"},
		{"unknown I/O opcode", "nvme io-passthru " + dev + " -o 0x7d -n 1", "Invalid Command Opcode"},
		{"vendor I/O opcode", "nvme io-passthru " + dev + " -o 0x80 -n 1", "Invalid Command Opcode"},
		{"vendor I/O opcode that writes", "nvme io-passthru " + dev + " -o 0x81 -n 1 -w -l 4096 -i /tmp/x",
			"Invalid Command Opcode"},
		{"unknown admin opcode", "nvme admin-passthru " + ctrl + " -o 0x7e", "Invalid Command Opcode"},
		{"format", "nvme admin-passthru " + ctrl + " -o 0x80 -n 1", "Invalid Command Opcode"},
		{"identify of a namespace that is not there", "nvme id-ns " + ctrl + " -n 2 -f", "Invalid Namespace"},
		{"unknown CNS", "nvme admin-passthru " + ctrl + " -o 6 --cdw10=0xee -r -l 4096", "Invalid Field"},
	} {
		if r := g.Run(step.script + " 2>&1"); !strings.Contains(strings.ToLower(r.Output),
			strings.ToLower(step.output)) {
			t.Errorf("%s: no %q in the output, exit %d:\n%s", step.name, step.output, r.Code, r.Output)
		}
	}
	live(t, g)
	g.Must("nvme reset " + ctrl + " && nvme ns-rescan " + ctrl)
	g.Until("[ $(cat /sys/class/nvme/nvme*/state | grep -c live) = 2 ]")
	g.Run("iotest write -dev " + dev + " -size 1M").Clean(g)
	g.Run("iotest check -dev " + dev + " -size 1M").Clean(g)
}

// live expects that no path was lost.
func live(t *testing.T, g *guest.Guest) {
	t.Helper()
	for _, p := range g.Paths(volumeNQN) {
		if p.State != "live" {
			t.Errorf("path %+v", p)
		}
	}
	if out := g.Run("dmesg | grep -E 'reconnect|reset|error recovery'").Output; out != "" {
		t.Errorf("a connection ended:\n%s", out)
	}
}
