package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"golang.org/x/sync/errgroup"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

// novaCompute is the service that starts servers and attaches volumes to them.
const novaCompute = "nova-compute"

// Nova is a running Nova with one compute host, this machine, and the Glance and Placement that it needs.
type Nova struct {
	*Glance
	compute *gophercloud.ServiceClient // as a cloud administrator
	flavor  string                     // id of the only one
	boot    map[string]string          // properties of an image whose servers start with the kernel of furnish
}

// StartNova brings up a Nova beside a Cinder that has a host. It ends with the Cinder.
func StartNova(t testing.TB, c *Cinder) *Nova {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	n := &Nova{Glance: &Glance{c: c}}
	if err := n.bringUp(ctx, t); err != nil {
		t.Fatalf("start Nova: %v", err)
	}
	return n
}

// bringUp starts everything at once where that is possible:
//
//	glance, placement, libvirt, catalog ----\
//	nova's tables ---------------------------+-> nova-{api,conductor,scheduler,compute} -> a hypervisor is up
func (n *Nova) bringUp(ctx context.Context, t testing.TB) error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	if n.c.site.Loophost == "" {
		return errors.New("this Cinder has no host (Options.Host)")
	}
	if err := setUp(root, "nova"); err != nil {
		return err
	}
	s, p := n.c.site, n.c.procs
	began := time.Now()
	if err := s.makeDatabases(ctx, p, "placement", "nova", "nova_api", "nova_cell0"); err != nil {
		return err
	}
	network, err := emptyNetwork(t)
	if err != nil {
		return err
	}
	g, ctx2 := errgroup.WithContext(ctx)
	g.Go(func() (err error) { n.Glance, err = startGlance(ctx2, n.c); return err })
	g.Go(func() error { return s.startPlacement(ctx2, p) })
	g.Go(func() error { return s.startLibvirt(ctx2, p) })
	g.Go(func() error { return s.makeNovaTables(ctx2, p) })
	g.Go(func() error { return s.describePackage(ctx2, p, root) })
	g.Go(func() error {
		return s.addToCatalog(ctx2, [][3]string{
			{"nova", "compute", s.URL(s.Ports.Nova) + "/v2.1"},
			{"placement", "placement", s.URL(s.Ports.Placement)},
			{"neutron", "network", network},
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	for _, name := range []string{"nova-api", "nova-conductor", "nova-scheduler", novaCompute} {
		if err := s.startOneOfNova(p, root, name); err != nil {
			return err
		}
	}
	if err := n.connect(ctx); err != nil {
		return err
	}
	if err := p.wait(ctx, "a hypervisor of Nova", n.hypervisorUp); err != nil {
		return err
	}
	t.Logf("Nova up after %v", time.Since(began).Round(time.Millisecond))
	return n.furnish(ctx)
}

func (s *site) startPlacement(ctx context.Context, p *processes) error {
	config := "--config-file=" + s.path("placement.conf")
	sync := []string{"/usr/bin/placement-manage", config, "db", "sync"}
	if err := p.run(ctx, "placement-manage", nil, sync...); err != nil {
		return err
	}
	env := []string{"OS_PLACEMENT_CONFIG_DIR=" + s.State}
	argv := []string{"/usr/bin/uwsgi_python3", "--ini", s.path("placement-uwsgi.ini")}
	if err := p.start("placement", env, argv...); err != nil {
		return err
	}
	return p.wait(ctx, "Placement", answering(s.URL(s.Ports.Placement)))
}

// startLibvirt starts libvirtd in namespaces of its own: it would leave its servers behind, and the process
// namespace does not.
func (s *site) startLibvirt(ctx context.Context, p *processes) error {
	if err := p.start("libvirtd", nil, "/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child",
		"--mount-proc", "/bin/sh", s.path("libvirtd.sh")); err != nil {
		return err
	}
	return p.wait(ctx, "libvirtd", listening("unix", s.path("libvirt/socket/libvirt-sock")))
}

// makeNovaTables makes the tables of Nova's API, and those of its two cells: of one that has a compute host,
// and of the one for servers that have found none.
func (s *site) makeNovaTables(ctx context.Context, p *processes) error {
	cell0 := fmt.Sprintf("mysql+pymysql://os:os@127.0.0.1:%d/nova_cell0", s.Ports.MySQL)
	for _, step := range [][]string{
		{"api_db", "sync"},
		{"cell_v2", "map_cell0", "--database_connection", cell0},
		{"cell_v2", "create_cell", "--name", "cell1"},
		{"db", "sync"},
	} {
		argv := append([]string{"/usr/bin/nova-manage", "--config-file", s.path("nova.conf")}, step...)
		if err := p.run(ctx, "nova-manage", nil, argv...); err != nil {
			return err
		}
	}
	return nil
}

// describePackage makes the metadata of ashlar_brick, as an installation would: nova-compute looks there for
// plugins.
func (s *site) describePackage(ctx context.Context, p *processes, root string) error {
	return p.run(ctx, "metadata", nil, "/usr/bin/env", "-C", filepath.Join(root, "os-brick-connector"),
		"/usr/bin/python3", "-c", "import setuptools; setuptools.setup()", "-q", "egg_info", "--egg-base",
		s.path("python"))
}

func (s *site) startOneOfNova(p *processes, root, name string) error {
	return p.start(name, s.python(root), s.command(root, name, "--config-file", s.path("nova.conf"))...)
}

// UseConnector lets nova-compute and cinder-backup attach with the connector of Ashlar from now on.
func (n *Nova) UseConnector() error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	s, p := n.c.site, n.c.procs
	s.Connector = true
	if err := n.c.restart(root, cinderBackup); err != nil {
		return err
	}
	if err := p.kill(novaCompute); err != nil {
		return err
	}
	return s.startOneOfNova(p, root, novaCompute)
}

// emptyNetwork is a network service that has nothing: Nova asks it for the ports of servers that have none.
// It returns its URL.
func emptyNetwork(t testing.TB) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = map[string]any{"versions": []any{
			map[string]any{"id": "v2.0", "status": "CURRENT", "links": []any{}}}}
		_, what, ok := strings.Cut(r.URL.Path, "/v2.0/")
		switch {
		case ok && strings.HasPrefix(what, "quotas/"):
			answer = map[string]any{"quota": map[string]int{"port": -1}}
		case ok:
			collection := strings.ReplaceAll(strings.TrimSuffix(path.Base(what), ".json"), "-", "_")
			answer = map[string]any{collection: []any{}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // who asked may have gone
	})}
	go func() { _ = server.Serve(ln) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + ln.Addr().String(), nil
}

// connect makes the clients.
func (n *Nova) connect(ctx context.Context) error {
	provider, err := n.c.site.login(ctx, "admin", "admin")
	if err != nil {
		return err
	}
	n.compute, err = openstack.NewComputeV2(provider, gophercloud.EndpointOpts{Region: region})
	if err != nil {
		return fmt.Errorf("find Nova in the catalog: %w", err)
	}
	n.compute.Microversion = "2.60" // servers without a network, several servers for a volume
	return nil
}

// hypervisorUp is ready when a compute host is there that the scheduler can choose.
func (n *Nova) hypervisorUp(ctx context.Context) error {
	pages, err := hypervisors.List(n.compute, nil).AllPages(ctx)
	if err != nil {
		return err
	}
	list, err := hypervisors.ExtractHypervisors(pages)
	if err != nil {
		return err
	}
	if len(list) != 1 || list[0].State != "up" {
		return fmt.Errorf("hypervisors: %+v", list)
	}
	return nil
}

// Console is what a server's guest has said, in lines that end with a line feed.
func (n *Nova) Console(server string) (string, error) {
	text, err := os.ReadFile(n.c.site.path("nova/instances/" + server + "/console.log"))
	return strings.ReplaceAll(string(text), "\r", ""), err
}
