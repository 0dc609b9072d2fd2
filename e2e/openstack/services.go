package openstack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// ports of one test bed, all on 127.0.0.1.
type ports struct {
	MySQL, Rabbit, RabbitDist, Epmd, Keystone, Cinder, Glance, Placement, Nova, Barbican int
}

// site is what the templates of the configuration files see.
type site struct {
	State     string // directory of everything that goes away with Stop, on tmpfs where there is one
	Instances string // nova/instances in it, by a name that is not below /dev: disks there are LVM's to Nova
	Root      bool   // whether we run as root, whom mariadbd refuses unless told
	Ports     ports
	Endpoints string // of the cluster's API, separated by commas
	Token     string // of the cluster's API
	Pool      string
	Second    string // pools of a second backend; empty: there is none
	Idle      bool
	Pair      bool // that there are two services cinder-volume
	Watched   bool // that the driver is watched
	Images    bool
	Connector bool   // that nova-compute and cinder-backup have the connector of Ashlar
	Flatten   bool   // that clones are made independent
	Loophost  string // socket of the host that attaches volumes; empty: nobody does

	TokenLife int // of Keystone's tokens, in seconds

	Flavor, Image string // of Tempest's servers, once there is a Nova that knows them
}

// newSite finds ports and a state directory.
func newSite() (*site, error) {
	s := &site{Root: os.Geteuid() == 0, TokenLife: 86400}
	var err error
	if s.Ports, err = freePorts(); err == nil {
		s.State, err = stateDir()
	}
	return s, err
}

// clouds is how the service user ashlar, of makeServiceUsers, and the administrator log in.
func (s *site) clouds() string {
	return "clouds:\n" + s.cloud("ashlar", "service") + s.cloud("admin", "admin")
}

// cloud is the entry of clouds.yaml by which a user logs in to a project.
func (s *site) cloud(user, project string) string {
	return fmt.Sprintf(`  %s:
    region_name: %s
    auth:
      auth_url: %s
      username: %s
      password: %s
      project_name: %s
      user_domain_id: default
      project_domain_id: default
`, user, region, s.KeystoneURL(), user, password, project)
}

// Socket of mariadbd; Backend is the section of cinder.conf and the volume_backend_name.
func (s *site) Socket() string  { return filepath.Join(s.State, "mysql.sock") }
func (s *site) Backend() string { return "ashlar-1" }

// Idle is the backend beside it whose driver (directory idle) does nothing, and its pool.
const Idle = "idle"

// backend is one whose driver is ours, as the template backend sees it.
type backend struct {
	*site
	Name, Pool string
}

// Ashlar are the backends with our driver.
func (s *site) Ashlar() []backend {
	all := []backend{{s, s.Backend(), s.Pool}}
	if s.Second != "" {
		all = append(all, backend{s, "ashlar-2", s.Second})
	}
	return all
}

// Backends are the names of all backends.
func (s *site) Backends() []string {
	var names []string
	for _, b := range s.Ashlar() {
		names = append(names, b.Name)
	}
	if s.Idle {
		names = append(names, Idle)
	}
	return names
}

// FixedKey is the one that Cinder and Nova encrypt with, where there is nobody who keeps keys.
func (s *site) FixedKey() string { return strings.Repeat("5a", 32) }

// List is the value of an option that has several.
func (s *site) List(values []string) string { return strings.Join(values, ",") }

// URL is that of a service at one of the ports; KeystoneURL and CinderURL are what the catalog has.
func (s *site) URL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
func (s *site) KeystoneURL() string { return s.URL(s.Ports.Keystone) + "/v3" }
func (s *site) CinderURL() string   { return s.URL(s.Ports.Cinder) + "/v3" }

// login is what the template auth sees: how a service user logs in.
type login struct{ KeystoneURL, User string }

// As is a login as a service user.
func (s *site) As(user string) login { return login{s.KeystoneURL(), user} }

func (s *site) path(name string) string { return filepath.Join(s.State, name) }

// freePorts finds ports that nobody listens on. They are released again for the services to take, so another
// process could come first: then the service says so in its log and the test fails; it never joins another's.
func freePorts() (ports, error) {
	var p ports
	var held []net.Listener
	defer func() {
		for _, ln := range held {
			_ = ln.Close()
		}
	}()
	for _, port := range []*int{&p.MySQL, &p.Rabbit, &p.RabbitDist, &p.Epmd, &p.Keystone, &p.Cinder,
		&p.Glance, &p.Placement, &p.Nova, &p.Barbican} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports{}, fmt.Errorf("find free ports: %w", err)
		}
		held = append(held, ln)
		*port = ln.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

// configure makes the state directory.
func (s *site) configure(root string) error {
	for _, dir := range []string{"rabbit/mnesia", "rabbit/log", "keystone/fernet", "keystone/credential",
		"cinder/lock", "cinder/conversion", "cinder/coordination", "cinder/backup", "glance/images",
		"glance/staging", "glance/tasks", "glance/lock", "nova/instances", "nova/lock", "libvirt/etc",
		"tempest", "libvirt/run", "libvirt/lib", "libvirt/cache", "libvirt/log", "libvirt/socket", "python"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
	}
	if err := s.writeConfigs(root); err != nil {
		return err
	}
	// Two fernet keys, the staged and the primary one, as keystone-manage fernet_setup would make them.
	for _, name := range []string{"0", "1"} {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		text := base64.URLEncoding.EncodeToString(key)
		if err := os.WriteFile(s.path("keystone/fernet/"+name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
	}
	return nil
}

// writeConfigs writes all configuration files into the state directory. They hold the API token.
func (s *site) writeConfigs(root string) error {
	files, err := template.ParseGlob(filepath.Join(root, "e2e", "openstack", "templates", "*"))
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	for _, t := range files.Templates() {
		if t.Name() == "auth" {
			continue // a part of cinder.conf
		}
		if err := s.write(t); err != nil {
			return err
		}
	}
	return nil
}

// write writes the configuration file of a template.
func (s *site) write(t *template.Template) error {
	var out strings.Builder
	if err := t.Execute(&out, s); err != nil {
		return fmt.Errorf("configure %s: %w", t.Name(), err)
	}
	if err := os.WriteFile(s.path(t.Name()), []byte(out.String()), 0o600); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// startDatabase makes an empty MariaDB with the two databases, and waits for it.
func (s *site) startDatabase(ctx context.Context, p *processes) error {
	defaults := "--defaults-file=" + s.path("my.cnf")
	if err := p.run(ctx, "mariadb-install", nil, "/usr/bin/mariadb-install-db", defaults,
		"--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		return err
	}
	if err := p.start("mariadb", nil, "/usr/sbin/mariadbd", defaults); err != nil {
		return err
	}
	if err := p.wait(ctx, "MariaDB", listening("unix", s.Socket())); err != nil {
		return err
	}
	return s.makeDatabases(ctx, p, "keystone", "cinder")
}

// makeDatabases makes empty databases that the services may use.
func (s *site) makeDatabases(ctx context.Context, p *processes, names ...string) error {
	sql := ""
	for _, name := range names {
		sql += fmt.Sprintf("create database %s; grant all on %s.* to 'os'@'%%' identified by 'os';", name, name)
	}
	return p.run(ctx, "mariadb-client", nil,
		"/usr/bin/mariadb", "--socket="+s.Socket(), "--user=root", "-e", sql)
}

// startRabbit starts epmd, which rabbit would otherwise leave behind as a daemon, and RabbitMQ, and waits.
func (s *site) startRabbit(ctx context.Context, p *processes) error {
	env := []string{
		"HOME=" + s.path("rabbit"), "RABBITMQ_CONF_ENV_FILE=" + s.path("rabbitmq-env"),
		fmt.Sprintf("ERL_EPMD_PORT=%d", s.Ports.Epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"detached=true", // the start script becomes the Erlang VM instead of watching it
	}
	if err := p.start("epmd", env, "/usr/bin/epmd"); err != nil {
		return err
	}
	if err := p.wait(ctx, "epmd", tcpListening(s.Ports.Epmd)); err != nil {
		return err
	}
	if err := p.start("rabbit", env, "/usr/lib/rabbitmq/bin/rabbitmq-server"); err != nil {
		return err
	}
	return p.wait(ctx, "RabbitMQ", tcpListening(s.Ports.Rabbit))
}

// startKeystone makes Keystone's tables and its admin user, starts it and waits for it.
func (s *site) startKeystone(ctx context.Context, p *processes) error {
	config := "--config-file=" + s.path("keystone.conf")
	if err := p.run(ctx, "keystone-manage", nil, "/usr/bin/keystone-manage", config, "db_sync"); err != nil {
		return err
	}
	if err := p.run(ctx, "keystone-manage", nil, "/usr/bin/keystone-manage", config, "bootstrap",
		"--bootstrap-password", password, "--bootstrap-region-id", region,
		"--bootstrap-public-url", s.KeystoneURL(), "--bootstrap-internal-url", s.KeystoneURL(),
		"--bootstrap-admin-url", s.KeystoneURL()); err != nil {
		return err
	}
	env := []string{"OS_KEYSTONE_CONFIG_DIR=" + s.State}
	argv := []string{"/usr/bin/uwsgi_python3", "--ini", s.path("keystone-uwsgi.ini")}
	if err := p.start("keystone", env, argv...); err != nil {
		return err
	}
	return p.wait(ctx, "Keystone", answering(s.KeystoneURL()))
}

// makeCinderTables makes Cinder's tables.
func (s *site) makeCinderTables(ctx context.Context, p *processes) error {
	return p.run(ctx, "cinder-manage", nil,
		"/usr/bin/cinder-manage", "--config-file", s.path("cinder.conf"), "db", "sync")
}

// startCinder starts API and scheduler, and waits until the API listens. cinder-volume comes when there are
// users: its driver logs in once.
func (s *site) startCinder(ctx context.Context, p *processes, root string) error {
	for _, name := range []string{"cinder-api", "cinder-scheduler"} {
		if err := s.startOneOfCinder(p, root, name); err != nil {
			return err
		}
	}
	return p.wait(ctx, "cinder-api", tcpListening(s.Ports.Cinder))
}

// cinderVolume is the service that calls the driver; cinderVolume2 another one that shares its work.
const (
	cinderVolume  = "cinder-volume"
	cinderVolume2 = "cinder-volume-2"
)

// volumeServices are those that there are.
func (s *site) volumeServices() []string {
	if s.Pair {
		return []string{cinderVolume, cinderVolume2}
	}
	return []string{cinderVolume}
}

// startOneOfCinder starts a service, with the driver of this tree.
func (s *site) startOneOfCinder(p *processes, root, name string) error {
	config := []string{"--config-file", s.path("cinder.conf")}
	argv := s.command(root, name, config...)
	if name == cinderVolume2 {
		argv = s.command(root, cinderVolume, append(config, "--config-file", s.path("second.conf"))...)
	}
	return p.start(name, s.python(root), argv...)
}

// python is the environment of services that find the packages of this tree.
func (s *site) python(root string) []string {
	var dirs []string
	for _, dir := range []string{"cinder-driver", "os-brick-connector", "e2e/openstack/idle",
		"e2e/openstack/watched"} {
		dirs = append(dirs, filepath.Join(root, dir))
	}
	dirs = append(dirs, s.path("python"))
	return []string{"PYTHONPATH=" + strings.Join(dirs, ":"), "PYTHONDONTWRITEBYTECODE=1",
		"ASHLAR_WATCHER=" + s.watcherSocket()}
}

// command is the command line of a Python service; those that attach volumes do so with the loophost.
func (s *site) command(root, name string, arguments ...string) []string {
	module := map[string]string{cinderVolume: "cinder.cmd.volume", cinderBackup: "cinder.cmd.backup",
		novaCompute: "nova.cmd.compute"}[name]
	if s.Loophost == "" || module == "" {
		return append([]string{"/usr/bin/" + name}, arguments...)
	}
	runner := filepath.Join(root, "e2e", "openstack", "with_loophost.py")
	return append([]string{"/usr/bin/python3", runner, s.Loophost, module}, arguments...)
}

func tcpListening(port int) func(context.Context) error {
	return listening("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}

// listening is ready when something accepts connections at the address.
func listening(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// answering is ready when the URL answers 200.
func answering(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
}
