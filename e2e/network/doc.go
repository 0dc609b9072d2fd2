// Package network gives the parts of an end-to-end test a network that fails: every part sits in a network
// namespace of its own, and a router between them loses, refuses or delays what a test says.
//
//	func TestMain(m *testing.M) { os.Exit(network.Main(m)) }
//
//	net := network.New(t)
//	a, b := net.Add("a"), net.Add("b")
//	a.Start(exec.Command(...))                         listens on a.Addr, sees nothing but the network
//	net.Block(network.Drop, []*network.End{a}, net.Others(a))    nobody hears a any more
//	net.Heal()
//
//	  test process     processes of a    processes of b
//	 +------------+    +------------+    +------------+
//	 | net.Host   |    | a          |    | b          |   a namespace each
//	 | 198.18.1.2 |    | 198.18.2.2 |    | 198.18.3.2 |
//	 +-----+------+    +-----+------+    +-----+------+
//	       | veth            |                 |
//	 +-----+-----------------+-----------------+------+
//	 | router: forwards, policy rules drop or refuse  |   another one
//	 +------------------------------------------------+
//
// It asks little of the machine: iproute2, and root or user namespaces that anybody may make. No firewall is
// needed: a policy rule of type blackhole drops a forwarded packet in silence, and one pair of addresses and
// one direction are as easy as all of them. A slow link is a token bucket with a short queue, which every
// kernel has; netem is missing from small ones.
//
// Nothing can be left behind. [Main] runs the tests in a second process, in a namespace of its own, and the
// namespaces have no names: open files of that process hold them, and the kernel takes them away with it,
// however it ends. Addresses are those set aside for such tests (RFC 2544); the machine's own network never
// sees them.
package network
