package manager_test

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestCompressionFollowsPoolAndVolume: the volume's word counts before the pool's, and the pool's before
// none; what the pool says later changes no volume that is there.
func TestCompressionFollowsPoolAndVolume(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	ctx := t.Context()
	if p, err := c.Manager.Pool(ctx, "gold"); err != nil || p.Compression != cluster.CompressionNone {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, name := range []string{"text", "tight"} {
		r := wire.PoolCreate{Name: name, Compression: cluster.CompressionS2}
		if name == "tight" {
			r.Compression, r.StripeUnit = "", cluster.BlockSize
		}
		if _, _, err := c.Manager.CreatePool(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	for i, x := range []struct {
		pool, asked, want string
		code              wire.Code
	}{
		{"gold", "", cluster.CompressionNone, ""},
		{"gold", cluster.CompressionS2, cluster.CompressionS2, ""},
		{"text", "", cluster.CompressionS2, ""},
		{"text", cluster.CompressionNone, cluster.CompressionNone, ""},
		{"tight", "", cluster.CompressionNone, ""},
		{"tight", cluster.CompressionS2, "", wire.InvalidField},
		{"gold", "zip", "", wire.InvalidField},
	} {
		r := wire.VolumeCreate{ID: apitest.UUID(10 + i), Name: x.pool + string(rune('a'+i)), Pool: x.pool,
			Size: apitest.MiB, Compression: x.asked}
		v, _, err := c.Manager.CreateVolume(ctx, r)
		if v.Compression != x.want || code(err) != x.code {
			t.Errorf("%+v: made %+v, %v", x, v, err)
		}
	}
	update := func(pool, to string) error {
		_, err := c.Manager.UpdatePool(ctx, pool, wire.PoolUpdate{Compression: to}, "")
		return err
	}
	if err := update("text", cluster.CompressionNone); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Manager.Pool(ctx, "text"); err != nil || p.Compression != cluster.CompressionNone {
		t.Errorf("%+v, %v", p, err)
	}
	if v, err := c.Manager.Volume(ctx, apitest.UUID(12)); err != nil || v.Compression != cluster.CompressionS2 {
		t.Errorf("the volume that was there: %+v, %v", v, err)
	}
	if code(update("tight", cluster.CompressionS2)) != wire.InvalidField || code(update("gold", "zip")) !=
		wire.InvalidField {
		t.Error("a pool takes what its volumes cannot have")
	}
	c.Audit()
}

// TestClonesAreCompressedAsTheySay, else as their pool does, whatever their source is.
func TestClonesAreCompressedAsTheySay(t *testing.T) {
	c := newCloning(t)
	source := wire.Source{Snapshot: c.snapshot}
	made := func(n int, asked string, s wire.Source) string {
		t.Helper()
		v, code, field := c.create(wire.VolumeCreate{ID: apitest.UUID(n), Name: "clone" + string(rune('a'+n)),
			Compression: asked, Source: &s})
		if code != "" {
			t.Fatalf("%s %s", code, field)
		}
		return v.Compression
	}
	if got := made(2, "", source); got != cluster.CompressionNone {
		t.Errorf("in a pool that says nothing: %s", got)
	}
	if got := made(3, cluster.CompressionS2, source); got != cluster.CompressionS2 {
		t.Errorf("asked for: %s", got)
	}
	if got := made(4, "", wire.Source{Volume: apitest.UUID(3)}); got != cluster.CompressionNone {
		t.Errorf("of a compressed one: %s", got)
	}
	if _, err := c.Manager.UpdatePool(t.Context(), "gold", wire.PoolUpdate{Compression: cluster.CompressionS2},
		""); err != nil {
		t.Fatal(err)
	}
	if got := made(5, "", source); got != cluster.CompressionS2 {
		t.Errorf("in a pool that compresses: %s", got)
	}
	if got := made(6, cluster.CompressionNone, source); got != cluster.CompressionNone {
		t.Errorf("not asked for: %s", got)
	}
	c.Audit()
}
