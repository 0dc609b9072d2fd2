package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/ashlar-storage/ashlar/cmd/internal/daemon"
	"github.com/ashlar-storage/ashlar/cmd/internal/logs"
	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/keystone"
)

// setting is one thing an operator may set: in the file, as ASHLARD_<NAME>, or as --<name>; the later wins.
type setting struct {
	name  string
	value any // default; its type is the setting's type
	help  string
	why   string // why the default is what it is
}

// settings is the whole configuration of ashlard, in the order of `ashlard settings`.
func settings() []setting {
	return []setting{
		{"data-dir", "/var/lib/ashlar", "directory for the node's identity and its etcd member",
			"where Debian keeps state; put it on a disk with fast fsync: etcd writes there"},
		{"name", "", "name of the node, unique in the cluster; default the host name",
			"people know machines by their host names; kept from the first start"},
		{"domain", "", "failure domain above the node, as az/rack",
			"empty means default/default: all nodes in one rack; fixed at the first start"},
		{"listen-address", "127.0.0.1", "IP address that every service listens on",
			"nothing is offered to a network before somebody decided so"},
		{"advertise-address", "", "IP address or name by which others reach this node; default listen-address",
			"the same unless there is NAT, or listen-address is 0.0.0.0"},
		{"advertise", []string{}, "exceptions, as service=host:port; services: hosts, discovery, nodes, rest, " +
			"etcd-client, etcd-peer", "for port forwarding"},
		{"hosts-port", 4420, "TCP port of volumes (NVMe/TCP)", "assigned to NVMe over Fabrics"},
		{"discovery-port", 8009, "TCP port of NVMe discovery", "assigned to NVMe over Fabrics discovery"},
		{"nodes-port", 4421, "TCP port between nodes (NVMe/TCP)", "next to hosts-port; admits only nodes"},
		{"rest-port", 7443, "TCP port of the REST API", "free by custom"},
		{"etcd-client-port", 2379, "TCP port of etcd for clients", "etcd's own"},
		{"etcd-peer-port", 2380, "TCP port between etcd members", "etcd's own"},
		{"etcd-member", true, "offer to run a member of the embedded etcd",
			"the first nodes must; the cluster takes only as many as it needs"},
		{"etcd-endpoints", []string{}, "client URLs of an external etcd, which is then used instead",
			"empty: nothing else needs to be operated"},
		{"etcd-tls", "", "how an external etcd is spoken to over TLS: authorities-file,certificate-file,key-file",
			"empty: in clear if its URLs are http; the embedded one has certificates of the cluster"},
		{"etcd-heartbeat-ms", 100, "heartbeat of the embedded etcd, in milliseconds",
			"etcd's default; an idle member takes 0.5 % of a core with it"},
		{"etcd-election-ms", 1000, "silence of the leader before an election, in milliseconds",
			"ten heartbeats; raise both where disks or networks stall longer"},
		{"key-file", "", "file of the cluster keys that wrap the keys of encrypted volumes; `ashlard key add` " +
			"makes it",
			"empty: the node serves no encrypted volume; only root or the daemon's user may read it (mode 0600)"},
		{"key-cloud", "", "entry of clouds.yaml whose Barbican has the cluster keys, instead of key-file; their " +
			"ids are those of secrets", "empty: nothing else needs to be operated"},
		{"insecure-http", false, "allow REST and etcd on addresses other than loopback, without encryption",
			"whoever reads that traffic can take the cluster over"},
		{"api-calls-per-token", 200, "REST calls per second with one token that this node takes; 0: no limit",
			"a busy Cinder makes some tens; a client in a loop must not starve it"},
		{"api-calls-per-address", 500, "REST calls per second from one address that this node takes; 0: no limit",
			"several clients may share an address; who has no token is slowed down, too"},
		{"rest-tls", "off", "encryption of the REST API: off, cluster (certificates of the cluster's own " +
			"authority), or certificate-file,key-file",
			"on 127.0.0.1 nobody listens; elsewhere off needs insecure-http"},
		{"keystone", "",
			"file of OpenStack's form clouds.yaml whose cloud \"ashlar\" is how to ask Keystone about tokens",
			"empty: only the cluster's own tokens are taken"},
		{"keystone-roles", []string{"member=tenant", "reader=viewer"},
			"what roles of Keystone mean here, as keystone-role=role",
			"admin is not among them: whoever is it in any one project would administer the cluster"},
		{"keystone-cache-seconds", 60, "how long an answer of Keystone is believed, in seconds, 0 to 3600",
			"a revoked token passes no longer than that"},
		{"shutdown-timeout-seconds", 30, "most time for a clean stop, in seconds",
			"handing over takes milliseconds per volume; systemd waits 90 s"},
		{"metrics", "token", "who gets /metrics for Prometheus from the REST listener: token (who has one), " +
			"public, or off; or address:port of a listener of its own, without TLS and token",
			"names of volumes are in it; a scrape can send a token"},
		{"traces", "", "host:port of an OpenTelemetry collector (OTLP over gRPC, without TLS) for traces of " +
			"calls and of a few I/Os", "empty: none; most clusters have no collector"},
		{"traces-io-every", 10000, "with traces: one of so many I/Os of a volume is traced; 0 for none",
			"a busy volume gives a few a second"},
		{"log-level", "info", "error, warning, info or debug", "info is a few lines per change"},
		{"log-format", "text", "text or json", "people read first; json for log collectors"},
	}
}

// settingsTable is the documentation of the settings (Markdown).
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| setting | default | meaning | why this default |\n|---|---|---|---|\n")
	for _, s := range settings() {
		value := fmt.Sprint(s.value)
		if list, ok := s.value.([]string); ok {
			value = strings.Join(list, ",")
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.name, value, s.help, s.why)
	}
	return b.String()
}

// addFlags makes a flag of every setting.
func addFlags(f *pflag.FlagSet) {
	f.String("config", "", "configuration file (YAML); default /etc/ashlar/ashlard.yaml if it exists")
	for _, s := range settings() {
		switch v := s.value.(type) {
		case string:
			f.String(s.name, v, s.help)
		case int:
			f.Int(s.name, v, s.help)
		case bool:
			f.Bool(s.name, v, s.help)
		case []string:
			f.StringSlice(s.name, v, s.help)
		default:
			panic(fmt.Sprintf("setting %s has no type", s.name))
		}
	}
}

// defaultConfig is read when it exists.
const defaultConfig = "/etc/ashlar/ashlard.yaml"

// readSettings merges defaults, file, environment and flags.
func readSettings(f *pflag.FlagSet) (*viper.Viper, error) {
	v := viper.New()
	v.SetEnvPrefix("ASHLARD")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if err := v.BindPFlags(f); err != nil {
		return nil, err
	}
	file := v.GetString("config")
	if file == "" {
		if _, err := os.Stat(defaultConfig); err != nil {
			return v, nil
		}
		file = defaultConfig
	}
	v.SetConfigFile(file)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", file, err)
	}
	known := map[string]bool{}
	for _, s := range settings() {
		known[s.name] = true
	}
	for _, key := range v.AllKeys() {
		if v.InConfig(key) && !known[key] {
			return nil, fmt.Errorf("configuration file %s: there is no setting %q (see `ashlard settings`)", file, key)
		}
	}
	return v, nil
}

// options turns the settings into what the daemon takes. It validates form; the daemon validates sense.
func options(v *viper.Viper) (daemon.Options, error) {
	o := daemon.Options{
		DataDir: v.GetString("data-dir"), Name: v.GetString("name"), Domain: v.GetString("domain"),
		InsecureHTTP: v.GetBool("insecure-http"), RESTTLS: v.GetString("rest-tls"), Metrics: v.GetString("metrics"),
		KeyFile: v.GetString("key-file"), KeyCloud: v.GetString("key-cloud"),
		Shutdown: time.Duration(v.GetInt("shutdown-timeout-seconds")) * time.Second,
		Etcd: daemon.Etcd{Member: v.GetBool("etcd-member"), Endpoints: v.GetStringSlice("etcd-endpoints"),
			Heartbeat: time.Duration(v.GetInt("etcd-heartbeat-ms")) * time.Millisecond,
			Election:  time.Duration(v.GetInt("etcd-election-ms")) * time.Millisecond},
	}
	o.Limits = api.Limits{PerToken: float64(v.GetInt("api-calls-per-token")),
		PerAddress: float64(v.GetInt("api-calls-per-address"))}
	if o.Limits.PerToken < 0 || o.Limits.PerAddress < 0 {
		return o, errors.New("api-calls-per-token and api-calls-per-address must not be negative")
	}
	if o.Etcd.Heartbeat <= 0 || o.Etcd.Election < 5*o.Etcd.Heartbeat {
		return o, errors.New("etcd-heartbeat-ms must be above 0, etcd-election-ms at least five times as much")
	}
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return o, fmt.Errorf("name: not set, and the host has none: %w", err)
		}
		o.Name = host
	}
	var err error
	if files := v.GetString("etcd-tls"); files != "" {
		if o.Etcd.TLS, err = daemon.EtcdFiles(files); err != nil {
			return o, fmt.Errorf("etcd-tls: %w", err)
		}
	}
	if o.Keystone, err = keystoneOptions(v); err != nil {
		return o, err
	}
	listen := v.GetString("listen-address")
	advertise := v.GetString("advertise-address")
	if advertise == "" {
		advertise = listen
	}
	if o.Listen, err = services(v, listen); err != nil {
		return o, err
	}
	if o.Advertise, err = services(v, advertise); err != nil {
		return o, err
	}
	exceptions := map[string]string{}
	for _, e := range v.GetStringSlice("advertise") {
		name, addr, ok := strings.Cut(e, "=")
		if !ok {
			return o, fmt.Errorf("advertise: %q is not service=host:port", e)
		}
		exceptions[name] = addr
	}
	if err := o.Advertise.Override(exceptions); err != nil {
		return o, err
	}
	every := v.GetInt("traces-io-every")
	if every < 0 || every > math.MaxInt32 {
		return o, fmt.Errorf("traces-io-every: %d is no number of I/Os", every)
	}
	o.Traces = daemon.Traces{Collector: v.GetString("traces"), IOEvery: uint32(every)}
	o.Settings = make(map[string]any)
	for _, s := range settings() {
		o.Settings[s.name] = v.Get(s.name)
	}
	o.Log, err = logs.New(v.GetString("log-level"), v.GetString("log-format"))
	return o, err
}

// keystoneOptions are empty without a file.
func keystoneOptions(v *viper.Viper) (o keystone.Options, err error) {
	path := v.GetString("keystone")
	if path == "" {
		return o, nil
	}
	o.CacheFor = time.Duration(v.GetInt("keystone-cache-seconds")) * time.Second
	if o.Roles, err = keystone.ParseRoles(v.GetStringSlice("keystone-roles")); err != nil {
		return o, fmt.Errorf("keystone-roles: %w", err)
	}
	if err = o.ReadCloud(path); err == nil {
		err = o.Validate()
	}
	if err != nil {
		return o, fmt.Errorf("keystone: %w", err)
	}
	return o, nil
}

// services are all ports at one address.
func services(v *viper.Viper, address string) (daemon.Services, error) {
	var s daemon.Services
	var err error
	at := func(name string) string {
		port := v.GetInt(name)
		if port < 1 || port > 65535 {
			err = fmt.Errorf("%s: %d is no TCP port", name, port)
		}
		return net.JoinHostPort(address, strconv.Itoa(port))
	}
	s = daemon.Services{Hosts: at("hosts-port"), Discovery: at("discovery-port"), Nodes: at("nodes-port"),
		REST: at("rest-port"), EtcdClient: at("etcd-client-port"), EtcdPeer: at("etcd-peer-port")}
	return s, err
}
