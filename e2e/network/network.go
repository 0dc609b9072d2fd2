package network

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Verdict is what the router does to a packet that it does not forward.
type Verdict string

// Drop leaves the sender in the dark, as a dead switch does. Reject tells it that there is no way (ICMP), as
// a router does that sees its link down.
const (
	Drop   Verdict = "blackhole"
	Reject Verdict = "unreachable"
)

// Network is a router and the ends it connects. Its methods end the test when they fail; they belong to the
// goroutine of the test.
type Network struct {
	Host *End // the namespace of the test process

	t      testing.TB
	router *namespace
	ends   []*End
	rules  []string // in force
	slow   []*End
}

// End is a part of the network: an address, and a namespace in which processes run.
type End struct {
	Name string
	Addr string

	ns  *namespace
	leg string // the router's side of the cable
}

// New makes a network that ends with the test. The package's TestMain must run [Main].
func New(t testing.TB) *Network {
	t.Helper()
	n := &Network{t: t}
	n.must(n.start())
	host, err := current()
	n.must(err)
	n.Host = n.attach("host", host)
	return n
}

func (n *Network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("network: %v", err)
	}
}

func (n *Network) start() (err error) {
	if n.router, err = fresh(); err != nil {
		return err
	}
	n.t.Cleanup(n.close)
	return n.router.do(func() error {
		if err := run("ip", "link set lo up\n"); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600)
	})
}

// close takes the cables away, for the host's namespace stays; all else goes with the files.
func (n *Network) close() {
	var b strings.Builder
	for _, e := range n.ends {
		fmt.Fprintf(&b, "link del %s\n", e.leg)
	}
	if err := n.router.do(func() error { return run("ip", b.String()) }); err != nil {
		n.t.Errorf("network: %v", err)
	}
	for _, e := range n.ends {
		_ = e.ns.file.Close()
	}
	_ = n.router.file.Close()
}

// Add connects one more end.
func (n *Network) Add(name string) *End {
	n.t.Helper()
	ns, err := fresh()
	n.must(err)
	return n.attach(name, ns)
}

func (n *Network) attach(name string, ns *namespace) *End {
	n.t.Helper()
	number := len(n.ends) + 1
	e := &End{Name: name, ns: ns, leg: fmt.Sprintf("leg%d", number), Addr: fmt.Sprintf("198.18.%d.2", number)}
	n.ends = append(n.ends, e)
	n.must(n.router.do(func() error {
		return run("ip", fmt.Sprintf("link add %[1]s type veth peer name eth0 netns %[2]s\n"+
			"addr add 198.18.%[3]d.1/24 dev %[1]s\nlink set %[1]s up\n", e.leg, ns.path(), number))
	}))
	n.must(ns.do(func() error {
		return run("ip", fmt.Sprintf("link set lo up\naddr add %s/24 dev eth0\nlink set eth0 up\n"+
			"route add default via 198.18.%d.1\n", e.Addr, number))
	}))
	return e
}

// Start starts a process at the end.
func (e *End) Start(cmd *exec.Cmd) error { return e.ns.do(cmd.Start) }

// Others are all ends but these.
func (n *Network) Others(but ...*End) (out []*End) {
	for _, e := range n.ends {
		if !slices.Contains(but, e) {
			out = append(out, e)
		}
	}
	return out
}

// Block stops packets from one set of ends to another until [Network.Heal]; those of the other direction
// pass.
func (n *Network) Block(v Verdict, from, to []*End) {
	n.t.Helper()
	var rules []string
	for _, a := range from {
		for _, b := range to {
			if a != b {
				rules = append(rules, fmt.Sprintf("pref 100 from %s to %s %s", a.Addr, b.Addr, v))
			}
		}
	}
	n.change("add", rules)
	n.rules = append(n.rules, rules...)
}

// Sever stops packets between two sets of ends, in both directions.
func (n *Network) Sever(v Verdict, some, others []*End) {
	n.t.Helper()
	n.Block(v, some, others)
	n.Block(v, others, some)
}

// Slow narrows the cable of an end to so many kbit/s, in both directions, with a queue of 200 ms: what waits
// longer is lost.
func (n *Network) Slow(e *End, kbit int) {
	n.t.Helper()
	qdisc := fmt.Sprintf("root tbf rate %dkbit burst 16kb latency 200ms\n", kbit)
	n.shape(e, "add dev %s "+qdisc)
	n.slow = append(n.slow, e)
}

// Heal ends everything that Block, Sever and Slow began.
func (n *Network) Heal() {
	n.t.Helper()
	n.change("del", n.rules)
	for _, e := range n.slow {
		n.shape(e, "del dev %s root\n")
	}
	n.rules, n.slow = nil, nil
}

func (n *Network) change(verb string, rules []string) {
	n.t.Helper()
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "rule %s %s\n", verb, r)
	}
	n.must(n.router.do(func() error { return run("ip", b.String()) }))
}

// shape changes the queues at both sides of a cable.
func (n *Network) shape(e *End, command string) {
	n.t.Helper()
	n.must(n.router.do(func() error { return run("tc", fmt.Sprintf("qdisc "+command, e.leg)) }))
	n.must(e.ns.do(func() error { return run("tc", fmt.Sprintf("qdisc "+command, "eth0")) }))
}
