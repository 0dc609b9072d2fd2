package openstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/services"
	"golang.org/x/sync/errgroup"

	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/loophost"
)

// Patience bounds every wait: bring-up as a whole, and each operation of the API.
const Patience = 4 * time.Minute

// Options of a Cinder.
type Options struct {
	Plan      *Plan          // of where its Keystone will be, when the cluster has to know that
	Endpoints []string       // base URLs of the cluster's API
	Token     string         // for it; empty: the driver logs in with Keystone as the user cinder
	Pool      string         // pool that the backend offers
	Second    string         // pools that a second backend offers, with commas; empty: there is none
	Host      *loophost.Host // that attaches volumes for the services on this machine; nil: nobody does

	Pair    bool          // have two services cinder-volume, active-active
	Idle    bool          // have a second backend, Idle, with a driver that does nothing
	Watched bool          // have calls of the driver be held, see Hold
	Images  bool          // have images that are volumes, and a cache of images; for StartGlance
	Poll    time.Duration // how often waits look again; 0: every 100 ms
	// TokenLife is how long Keystone's tokens are good; 0: longer than any test.
	TokenLife time.Duration
}

// Plan is where the services of a Cinder will be.
type Plan struct{ site *site }

// NewPlan finds places for services that are started later.
func NewPlan(t testing.TB) *Plan {
	t.Helper()
	s, err := newSite()
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(s.State) })
		err = os.WriteFile(s.path("clouds.yaml"), []byte(s.clouds()), 0o600)
	}
	if err != nil {
		t.Fatalf("plan of OpenStack: %v", err)
	}
	return &Plan{site: s}
}

// Clouds is a clouds.yaml: its cloud ashlar is how ashlard asks Keystone about tokens, by its setting
// keystone; admin is the administrator.
func (p *Plan) Clouds() string { return p.site.path("clouds.yaml") }

// Cinder is a running Cinder with one backend, an Ashlar cluster.
type Cinder struct {
	site  *site
	procs *processes
	admin *gophercloud.ServiceClient // block storage, as a cloud administrator
	nova  *gophercloud.ServiceClient // block storage, as the administrator with Nova's service token
	stop  sync.Once

	watcher *watcher // nil: the driver is not watched
}

// Start brings up a Cinder and waits until its services report up. It ends with the test, or at Stop.
func Start(t testing.TB, o Options) *Cinder {
	t.Helper()
	c, err := start(t, o)
	if err != nil {
		t.Fatalf("start Cinder: %v", err)
	}
	return c
}

func start(t testing.TB, o Options) (*Cinder, error) {
	c, root, err := prepare(t, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	return c, c.bringUp(ctx, t, root)
}

// prepare installs and configures what is needed, and sees that it goes away with the test.
func prepare(t testing.TB, o Options) (c *Cinder, root string, err error) {
	if root, err = build.Root(); err != nil {
		return nil, "", err
	}
	if err := setUp(root); err != nil {
		return nil, "", err
	}
	logs := filepath.Join(root, ".build", "e2e", "openstack", strings.ReplaceAll(t.Name(), "/", "-"))
	if err := os.RemoveAll(logs); err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, "", err
	}
	if o.Plan == nil {
		o.Plan = NewPlan(t)
	}
	s := o.Plan.site
	s.Instances = filepath.Join(logs, "instances")
	if err := os.Symlink(s.path("nova/instances"), s.Instances); err != nil {
		return nil, "", err
	}
	s.Endpoints, s.Token, s.Pool = strings.Join(o.Endpoints, ","), o.Token, o.Pool
	s.Second, s.Pair, s.Idle, s.Images, s.Watched = o.Second, o.Pair, o.Idle, o.Images, o.Watched
	if o.TokenLife > 0 {
		s.TokenLife = int(o.TokenLife.Seconds())
	}
	if o.Host != nil {
		s.Loophost = o.Host.Socket()
	}
	c = &Cinder{site: s, procs: newProcesses(logs)}
	if o.Poll > 0 {
		c.procs.poll = o.Poll
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", c.procs.tails(15))
		}
		c.Stop()
	})
	if err := s.configure(root); err != nil {
		return nil, "", err
	}
	if s.Watched {
		if c.watcher, err = watch(s.watcherSocket()); err != nil {
			return nil, "", err
		}
	}
	return c, root, nil
}

// setUp installs the packages that are missing, and those of more.
func setUp(root string, more ...string) error {
	script := filepath.Join(root, "e2e", "openstack", "setup.sh")
	if out, err := exec.Command(script, more...).CombinedOutput(); err != nil {
		return fmt.Errorf("setup.sh: %w\n%s", err, out)
	}
	return nil
}

// stateDir makes a directory on tmpfs where there is one: a database on a busy disk takes ten times as long.
// Its name has the test process's pid, so that what a killed test left behind can be told and removed here.
func stateDir() (string, error) {
	const name = "ashlar-openstack-"
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = os.TempDir()
	}
	old, _ := filepath.Glob(filepath.Join(base, name+"*"))
	for _, dir := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), name), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			_ = os.RemoveAll(dir) // not ours to remove if it fails
		}
	}
	dir, err := os.MkdirTemp(base, fmt.Sprintf("%s%d-", name, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	return dir, nil
}

// bringUp starts the services, each as early as its needs are met:
//
//	rabbit ---------------------------\
//	mariadb -> cinder's tables --------+-> cinder-{api,scheduler} -\
//	       \-> keystone -> catalog --------------------------------+-> cinder-volume -> all up
func (c *Cinder) bringUp(ctx context.Context, t testing.TB, root string) error {
	began := time.Now()
	step := func(name string, f func() error) func() error {
		return func() error {
			if err := f(); err != nil {
				return err
			}
			t.Logf("%5.1f s  %s", time.Since(began).Seconds(), name)
			return nil
		}
	}
	s, p := c.site, c.procs
	ctx, cancel := context.WithCancel(ctx)
	base, ctx2 := errgroup.WithContext(ctx)
	identity, ctx3 := errgroup.WithContext(ctx)
	defer func() { // nothing is left running when one step fails
		cancel()
		_, _ = base.Wait(), identity.Wait()
	}()
	base.Go(step("rabbit", func() error { return s.startRabbit(ctx2, p) }))
	if err := step("mariadb", func() error { return s.startDatabase(ctx, p) })(); err != nil {
		return err
	}
	base.Go(step("cinder's tables", func() error { return s.makeCinderTables(ctx2, p) }))
	identity.Go(step("keystone", func() error { return s.startKeystone(ctx3, p) }))
	if err := base.Wait(); err != nil {
		return err
	}
	if err := step("cinder-api", func() error { return s.startCinder(ctx, p, root) })(); err != nil {
		return err
	}
	if err := identity.Wait(); err != nil {
		return err
	}
	if err := step("catalog", func() error { return s.fillCatalog(ctx) })(); err != nil {
		return err
	}
	for _, name := range s.volumeServices() {
		if err := s.startOneOfCinder(p, root, name); err != nil {
			return err
		}
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	return step("cinder-scheduler and cinder-volume", func() error {
		return p.wait(ctx, "Cinder's services", c.servicesUp)
	})()
}

// connect makes the clients. The second one is to Cinder what Nova is: a user's request with a service token.
func (c *Cinder) connect(ctx context.Context) error {
	provider, err := c.site.login(ctx, "admin", "admin")
	if err != nil {
		return err
	}
	nova, err := c.site.login(ctx, "nova", "service")
	if err != nil {
		return err
	}
	for _, client := range []**gophercloud.ServiceClient{&c.admin, &c.nova} {
		*client, err = openstack.NewBlockStorageV3(provider, gophercloud.EndpointOpts{Region: region})
		if err != nil {
			return fmt.Errorf("find Cinder in the catalog: %w", err)
		}
		(*client).Microversion = "3.70" // the newest of 2023.1
	}
	c.nova.MoreHeaders = map[string]string{"X-Service-Token": nova.Token()}
	return nil
}

// servicesUp is ready when the scheduler and the backend report up and the scheduler knows the pool, which it
// hears of later.
func (c *Cinder) servicesUp(ctx context.Context) error {
	pages, err := services.List(c.admin, nil).AllPages(ctx)
	if err != nil {
		return err
	}
	list, err := services.ExtractServices(pages)
	if err != nil {
		return err
	}
	up := map[string]bool{}
	for _, one := range list {
		up[one.Binary+" "+one.Host] = one.State == "up"
	}
	names, wanted := []string{"cinder-scheduler vm"}, c.site.Backends()
	for _, backend := range wanted {
		names = append(names, "cinder-volume vm@"+backend)
		if c.site.Pair {
			names = append(names, "cinder-volume vm-2@"+backend)
		}
	}
	for _, name := range names {
		if !up[name] {
			return fmt.Errorf("%s is not up", name)
		}
	}
	pools, err := c.pools(ctx)
	if err == nil && len(pools) < len(wanted) {
		err = fmt.Errorf("pools: %d, should be %d or more", len(pools), len(wanted))
	}
	return err
}

// KillVolumeService ends cinder-volume at once, whatever it does. StartVolumeService starts it again.
func (c *Cinder) KillVolumeService() error {
	err := c.procs.kill(cinderVolume)
	if c.watcher != nil {
		c.watcher.killed()
	}
	return err
}

// StartVolumeService starts cinder-volume again, which goes on with what it finds begun.
func (c *Cinder) StartVolumeService() error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	return c.site.startOneOfCinder(c.procs, root, cinderVolume)
}

// FlattenClones lets the driver make clones independent of what they begin as, or not, from now on.
func (c *Cinder) FlattenClones(on bool) error {
	c.site.Flatten = on
	root, err := build.Root()
	if err != nil {
		return err
	}
	return c.restart(root, cinderVolume)
}

// UseToken has the driver come to the cluster with a token of its own, from now on.
func (c *Cinder) UseToken(token string) error {
	c.site.Token = token
	root, err := build.Root()
	if err != nil {
		return err
	}
	return c.restart(root, cinderVolume)
}

// restart has a service of Cinder read its configuration again.
func (c *Cinder) restart(root, name string) error {
	if err := c.site.writeConfigs(root); err != nil {
		return err
	}
	if err := c.procs.kill(name); err != nil {
		return err
	}
	return c.site.startOneOfCinder(c.procs, root, name)
}

// LogDir is where the services log, at level DEBUG.
func (c *Cinder) LogDir() string { return c.procs.logDir }

// Stop ends all services and removes their state; logs stay.
func (c *Cinder) Stop() {
	c.stop.Do(func() {
		c.procs.close()
		if c.watcher != nil {
			_ = c.watcher.ln.Close()
			c.watcher.killed()
		}
		_ = os.RemoveAll(c.site.State)
	})
}
