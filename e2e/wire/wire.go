// Package wire has somebody else judge what our target sends: Wireshark's NVMe/TCP dissector reads the packet
// capture of a guest (guest.Options.Capture), checks every digest and finds PDUs that are malformed.
package wire

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Verdict is what the dissector found in a capture. The counts are of PDUs.
type Verdict struct {
	Types      map[string]int // by name: ICReq, CapsuleCmd …
	Digests    int            // header and data digests that are right
	BadDigests int
	Malformed  []string // a line for each packet that Wireshark cannot make sense of
	Terminated int      // connections that either side ended with a TermReq
	GivenUp    int      // packets at which Wireshark found a bug of its own (4.0: Get Features, Arbitration)
}

// typeName returns the specification's name of a PDU type (NVMe/TCP transport 1.0, figure 13).
func typeName(code int) string {
	switch code {
	case 0x00:
		return "ICReq"
	case 0x01:
		return "ICResp"
	case 0x02:
		return "H2CTermReq"
	case 0x03:
		return "C2HTermReq"
	case 0x04:
		return "CapsuleCmd"
	case 0x05:
		return "CapsuleResp"
	case 0x06:
		return "H2CData"
	case 0x07:
		return "C2HData"
	case 0x09:
		return "R2T"
	}
	return fmt.Sprintf("unknown type %#x", code)
}

// Judge reads a packet capture in which the target's ports are those given, and returns what Wireshark says.
func Judge(capture string, ports ...int) (Verdict, error) {
	args := []string{"-r", capture, "-2", "-T", "fields", "-E", "occurrence=a", "-E", "separator=;",
		"-e", "frame.number", "-e", "nvme-tcp.type", "-e", "nvme-tcp.hdgst.status",
		"-e", "nvme-tcp.ddgst.status", "-e", "_ws.malformed", "-e", "_ws.expert.message", "-Y", "nvme-tcp"}
	for _, port := range ports {
		args = append(args, "-d", fmt.Sprintf("tcp.port==%d,nvme-tcp", port))
	}
	var said bytes.Buffer
	cmd := exec.Command("tshark", append(args,
		"-o", "nvme-tcp.check_hdgst:TRUE", "-o", "nvme-tcp.check_ddgst:TRUE")...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return Verdict{}, fmt.Errorf("tshark: %w\n%s", err, said.Bytes())
	}
	v := Verdict{Types: map[string]int{}}
	for line := range strings.Lines(string(out)) {
		v.read(strings.TrimRight(line, "\n"))
	}
	return v, nil
}

// read takes one packet: fields separated by ';', the values of each by ','.
func (v *Verdict) read(line string) {
	f := strings.SplitN(line, ";", 6)
	if len(f) != 6 {
		v.Malformed = append(v.Malformed, "tshark printed "+line)
		return
	}
	for code := range strings.SplitSeq(f[1], ",") {
		n, err := strconv.ParseInt(code, 0, 32)
		if err != nil {
			continue // a packet with a part of a PDU
		}
		name := typeName(int(n))
		v.Types[name]++
		if name == "H2CTermReq" || name == "C2HTermReq" {
			v.Terminated++
		}
	}
	for status := range strings.SplitSeq(f[2]+","+f[3], ",") {
		switch status { // Wireshark's proto_checksum_vals
		case "0", "Bad":
			v.BadDigests++
		case "1", "Good":
			v.Digests++
		}
	}
	switch {
	case strings.Contains(f[5], "failed assertion"):
		v.GivenUp++
	case f[4] != "":
		v.Malformed = append(v.Malformed, "packet "+f[0]+": "+f[5])
	}
}
