package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/keystone"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Services are the "host:port" of what a node serves.
type Services struct {
	Hosts      string // NVMe/TCP for hosts
	Discovery  string // NVMe/TCP discovery for hosts
	Nodes      string // NVMe/TCP between nodes
	REST       string
	EtcdClient string
	EtcdPeer   string
}

// each calls f with the name and the address of every service, in a fixed order.
func (s *Services) each(f func(name string, addr *string)) {
	f("hosts", &s.Hosts)
	f("discovery", &s.Discovery)
	f("nodes", &s.Nodes)
	f("rest", &s.REST)
	f("etcd-client", &s.EtcdClient)
	f("etcd-peer", &s.EtcdPeer)
}

// Override replaces the addresses named in m; an unknown name is an error.
func (s *Services) Override(m map[string]string) error {
	left := len(m)
	var names []string
	s.each(func(name string, addr *string) {
		names = append(names, name)
		if v, ok := m[name]; ok {
			*addr = v
			left--
		}
	})
	if left > 0 {
		return fmt.Errorf("advertise: unknown service in %v; the services are %s", m, strings.Join(names, ", "))
	}
	return nil
}

// Etcd says how the node reaches etcd.
type Etcd struct {
	Member    bool                 // offer to run a member of the embedded cluster
	Endpoints []string             // client URLs of an external cluster; then no node runs a member
	TLS       embedetcd.Encryption // of Endpoints; nil: in clear
	Heartbeat time.Duration
	Election  time.Duration
}

// First says what to do on the first start. Later starts ignore it.
type First struct {
	Bootstrap   bool
	ClusterName string
	// EncryptNodes makes a new cluster whose nodes talk to each other over TLS.
	EncryptNodes bool
	JoinURLs     []string // REST base URLs of nodes of the cluster to join
	JoinToken    string
	// CAFingerprint is that of the cluster's authority; empty: JoinURLs are trusted by the system's rules.
	CAFingerprint string
}

// Traces says where spans go.
type Traces struct {
	Collector string // "host:port" of OTLP over gRPC; empty: nowhere
	IOEvery   uint32 // one of so many I/Os of a volume gets a span; 0: none
}

// Options of a daemon.
type Options struct {
	DataDir      string
	Name         string // of the node; only the first start looks at it
	Domain       string // "az/rack"; only the first start looks at it
	Listen       Services
	Advertise    Services // as others reach them
	Etcd         Etcd
	KeyFile      string // of cluster keys; empty: the node has none, or
	KeyCloud     string // has those of this cloud's Barbican, an entry of clouds.yaml
	InsecureHTTP bool
	RESTTLS      string           // one of the constants, or two files
	Keystone     keystone.Options // no Roles: no tokens of Keystone
	Metrics      string           // one of the constants, or "host:port" of their own listener
	Limits       api.Limits
	Traces       Traces
	Shutdown     time.Duration // most time that a clean stop takes
	First        First
	Version      wire.Version
	Settings     map[string]any // as they took effect, for a support bundle; no secrets
	Log          *logrus.Logger
	// NewDataPlane makes the node's data plane once the node is a member of its cluster.
	NewDataPlane func(DataPlaneOptions) (DataPlane, error)
}

// validate refuses what would fail later in a less clear way.
func (o *Options) validate() error {
	switch {
	case o.DataDir == "":
		return errors.New("data-dir: must be set")
	case o.Log == nil || o.NewDataPlane == nil:
		panic("daemon: Options.Log and Options.NewDataPlane must be set")
	case o.First.Bootstrap && len(o.First.JoinURLs) > 0:
		return errors.New("bootstrap and join exclude each other: a node either founds a cluster or joins one")
	case len(o.First.JoinURLs) > 0 && o.First.JoinToken == "":
		return errors.New("join: needs a token; `ashlar node join-token` makes one")
	case o.Etcd.TLS != nil && !o.external():
		return errors.New("etcd-tls is for an external etcd (etcd-endpoints); the embedded one is encrypted with " +
			"certificates of the cluster, if that was founded with encrypt-nodes")
	case o.KeyFile != "" && o.KeyCloud != "":
		return errors.New("key-file and key-cloud exclude each other: cluster keys come from one place")
	case o.Shutdown <= 0:
		return errors.New("shutdown-timeout-seconds: must be larger than 0")
	}
	if err := cluster.ValidateName("name", o.Name); err != nil {
		return err
	}
	if _, _, files := o.certificateFiles(); o.encrypted() && o.RESTTLS != TLSCluster && !files {
		return fmt.Errorf("rest-tls: %q is none of off, cluster and certificate-file,key-file", o.RESTTLS)
	}
	switch _, _, err := net.SplitHostPort(o.Metrics); o.Metrics {
	case MetricsToken, MetricsPublic, MetricsOff, "":
	default:
		if err != nil {
			return fmt.Errorf("metrics: %q is none of token, public, off and address:port", o.Metrics)
		}
	}
	var err error
	o.Listen.each(func(name string, addr *string) {
		if _, _, e := net.SplitHostPort(*addr); e != nil && err == nil {
			err = fmt.Errorf("listen address of %s: %q is no address:port", name, *addr)
		}
	})
	o.Advertise.each(func(name string, addr *string) {
		host, port, e := net.SplitHostPort(*addr)
		if err == nil && (e != nil || host == "" || port == "" || port == "0" || unspecified(host)) {
			err = fmt.Errorf("advertise-address: %q (%s) is no address:port that others can reach; set it", *addr,
				name)
		}
	})
	return err
}

// validateOpenness refuses to offer unencrypted REST and etcd, which carry credentials and take any
// command, to a network, unless the operator says that this network is trusted. Whether etcd is encrypted
// the state knows, or the founder; who joins asks again when the cluster has told.
func (o *Options) validateOpenness(s *State) error {
	if o.InsecureHTTP {
		return nil
	}
	encrypted := o.First.EncryptNodes || len(o.First.JoinURLs) > 0
	if s != nil && s.Stage == Member {
		encrypted = s.EncryptEtcd
	}
	open := map[string]string{}
	if !o.encrypted() {
		open["REST"] = o.Listen.REST
	}
	if o.Etcd.Member && len(o.Etcd.Endpoints) == 0 && !encrypted {
		open["etcd client"], open["etcd peer"] = o.Listen.EtcdClient, o.Listen.EtcdPeer
	}
	for what, addr := range open {
		host, _, _ := net.SplitHostPort(addr)
		if !loopback(host) {
			return fmt.Errorf("%s would listen on %s without encryption: listen on 127.0.0.1 (for REST, "+
				"rest-tls encrypts; for etcd, found the cluster with encrypt-nodes), or set insecure-http if every "+
				"machine that reaches this address is trusted", what, addr)
		}
	}
	return nil
}

// tryPorts finds an address that cannot be listened on before anything is founded or joined: a node that
// fails half-way up, its etcd member already counted, is worse than one that does not start.
func (o *Options) tryPorts() error {
	var err error
	o.Listen.each(func(name string, addr *string) {
		if err != nil || o.external() && strings.HasPrefix(name, "etcd") {
			return
		}
		ln, e := net.Listen("tcp", *addr)
		if e != nil {
			err = fmt.Errorf("%s: cannot listen on %s: %w", name, *addr, e)
			return
		}
		_ = ln.Close()
	})
	return err
}

func unspecified(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// addresses is what the cluster's records keep of the advertised services; etcd is that of the node's member,
// empty without one.
func (o *Options) addresses(etcd string) cluster.Addresses {
	return cluster.Addresses{Host: o.Advertise.Hosts, Discovery: o.Advertise.Discovery, Peer: o.Advertise.Nodes,
		REST: o.restURL(), Etcd: etcd}
}

// external says that etcd is somebody else's.
func (o *Options) external() bool { return len(o.Etcd.Endpoints) > 0 }
