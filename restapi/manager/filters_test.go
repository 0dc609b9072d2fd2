package manager_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const filtered = 260 // volumes

// beFiltered makes volumes of which every tenth has a host, every seventh belongs to the shop, and every
// fortieth has an owner that is dead.
func beFiltered(c *apitest.Cluster) {
	c.T.Helper()
	c.Pool()
	ctx := c.T.Context()
	for n := 1; n <= filtered; n++ {
		r := wire.VolumeCreate{ID: apitest.UUID(n), Name: fmt.Sprint("v", n), Pool: "gold", Size: apitest.MiB,
			Metadata: cluster.Metadata{"n": fmt.Sprint(n)}}
		if n%7 == 0 {
			r.Metadata["team"] = "shop"
		}
		v, _, err := c.Manager.CreateVolume(ctx, r)
		if err != nil {
			c.T.Fatal(err)
		}
		if n%10 == 0 {
			if _, _, err := c.Manager.Allow(ctx, manager.OfVolume(v.ID), apitest.HostA, ""); err != nil {
				c.T.Fatal(err)
			}
		}
		if n%40 == 0 {
			c.Served(cluster.VolumeKey(v.VolumeNumbers))
		}
	}
}

// TestVolumesAreFiltered by health, host and metadata, alone and together, in pages of every size.
func TestVolumesAreFiltered(t *testing.T) {
	c := apitest.New(t)
	beFiltered(c)
	type filter = manager.VolumeFilter
	host := manager.Use{Host: apitest.HostA}
	meta := func(text string) filter { return filter{Use: manager.Use{Metadata: text}} }
	none := func(int) bool { return false }
	every := func(m int) func(int) bool { return func(n int) bool { return n%m == 0 } }
	only := func(one int) func(int) bool { return func(n int) bool { return n == one } }
	for name, x := range map[string]struct {
		filter
		want func(n int) bool
	}{
		"of a host":         {filter{Use: host}, every(10)},
		"of no host":        {filter{Use: manager.Use{Host: apitest.HostB}}, none},
		"of the shop":       {meta("team=shop"), every(7)},
		"with a key":        {meta("team"), every(7)},
		"of another team":   {meta("team=sho"), none},
		"with two pairs":    {meta("team=shop,n=14"), only(14)},
		"degraded":          {filter{Health: wire.Degraded}, every(40)},
		"well":              {filter{Health: wire.OK}, func(n int) bool { return n%40 != 0 }},
		"moving":            {filter{Health: wire.OnTheWay}, none},
		"degraded, by name": {filter{Health: wire.Degraded, Name: "v80"}, only(80)},
		"well, by name":     {filter{Health: wire.OK, Name: "v80"}, none},
		"degraded, of a host": {filter{Health: wire.Degraded, Use: manager.Use{Host: apitest.HostA,
			Metadata: "n=120"}}, only(120)},
	} {
		var want []string
		for n := 1; n <= filtered; n++ {
			if x.want(n) {
				want = append(want, fmt.Sprint("v", n))
			}
		}
		for _, limit := range []int{1, 9, 130, manager.MaxLimit} {
			if got := namesOf(c, limit, x.filter); !slices.Equal(got, want) {
				t.Errorf("%s, in pages of %d: %v, want %v", name, limit, got, want)
			}
		}
	}
}

// namesOf are the names of the volumes that a filter lets through, in the order of pages of some size.
func namesOf(c *apitest.Cluster, limit int, f manager.VolumeFilter) (names []string) {
	c.T.Helper()
	for p := (manager.Page{Limit: limit}); ; {
		page, err := c.Manager.Volumes(c.T.Context(), p, f)
		if err != nil || len(page.Items) > limit {
			c.T.Fatalf("%d items, %v", len(page.Items), err)
		}
		for _, v := range page.Items {
			names = append(names, v.Name)
		}
		if p.Cursor = page.Next; page.Next == "" {
			return names
		}
	}
}

// TestExportsComeInPages, by NQN.
func TestExportsComeInPages(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	x := manager.OfVolume(c.Volume(1, "v").ID)
	const hosts = 7
	for n := range hosts {
		if _, _, err := c.Manager.Allow(t.Context(), x, fmt.Sprint("nqn.2014-08.org:host-", n), ""); err != nil {
			t.Fatal(err)
		}
	}
	for limit := 1; limit <= hosts+1; limit++ {
		n := 0
		for p := (manager.Page{Limit: limit}); ; {
			page, err := c.Manager.Exports(t.Context(), x, p)
			if err != nil || len(page.Items) > limit {
				t.Fatalf("%d items, %v", len(page.Items), err)
			}
			for _, e := range page.Items {
				if want := fmt.Sprint("nqn.2014-08.org:host-", n); e.Host != want || len(e.Portals) == 0 {
					t.Fatalf("%+v, want %s", e, want)
				}
				n++
			}
			if p.Cursor = page.Next; page.Next == "" {
				break
			}
		}
		if n != hosts {
			t.Errorf("%d in pages of %d", n, limit)
		}
	}
	if _, err := c.Manager.Exports(t.Context(), x, manager.Page{Cursor: "x"}); code(err) != wire.InvalidField {
		t.Errorf("a cursor of nothing: %v", err)
	}
}
