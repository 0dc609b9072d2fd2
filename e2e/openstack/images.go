package openstack

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

// Glance is a running Glance beside a Cinder. Its images are files or, with Options.Images, volumes of that
// Cinder.
type Glance struct {
	c      *Cinder
	images *gophercloud.ServiceClient // as a cloud administrator
}

// StartGlance brings up a Glance. It ends with the Cinder.
func StartGlance(t testing.TB, c *Cinder) *Glance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	began := time.Now()
	g, err := startGlance(ctx, c)
	if err != nil {
		t.Fatalf("start Glance: %v", err)
	}
	t.Logf("Glance up after %v", time.Since(began).Round(time.Millisecond))
	return g
}

func startGlance(ctx context.Context, c *Cinder) (*Glance, error) {
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	if err := setUp(root, "nova"); err != nil {
		return nil, err
	}
	s, p := c.site, c.procs
	if err := s.makeDatabases(ctx, p, "glance"); err != nil {
		return nil, err
	}
	config := "--config-file=" + s.path("glance-api.conf")
	if err := p.run(ctx, "glance-manage", nil, "/usr/bin/glance-manage", config, "db_sync"); err != nil {
		return nil, err
	}
	if err := p.start("glance-api", nil, "/usr/bin/glance-api", config); err != nil {
		return nil, err
	}
	if err := s.addToCatalog(ctx, [][3]string{{"glance", "image", s.URL(s.Ports.Glance)}}); err != nil {
		return nil, err
	}
	if err := p.wait(ctx, "Glance", tcpListening(s.Ports.Glance)); err != nil {
		return nil, err
	}
	admin, err := s.login(ctx, "admin", "admin")
	if err != nil {
		return nil, err
	}
	g := &Glance{c: c}
	if g.images, err = openstack.NewImageV2(admin, gophercloud.EndpointOpts{Region: region}); err != nil {
		return nil, fmt.Errorf("find Glance in the catalog: %w", err)
	}
	return g, nil
}

// Upload makes a public image that is a file, and returns its id. Kernels (aki) and initramfses (ari) are
// contained in themselves, disks (raw) in nothing.
func (g *Glance) Upload(ctx context.Context, name, format string, properties map[string]string,
	data io.Reader) (string, error) {
	container, public := format, images.ImageVisibilityPublic
	if format == "raw" {
		container = "bare"
	}
	made, err := images.Create(ctx, g.images, images.CreateOpts{Name: name, Visibility: &public,
		DiskFormat: format, ContainerFormat: container, Properties: properties}).Extract()
	if err != nil {
		return "", fmt.Errorf("create image %s: %w", name, err)
	}
	if err := imagedata.Upload(ctx, g.images, made.ID, data).Err; err != nil {
		return "", fmt.Errorf("upload image %s: %w", name, err)
	}
	return made.ID, nil
}

// ToImage makes an image of a detached volume, waits until both are ready, and returns its id.
func (g *Glance) ToImage(ctx context.Context, name, format, volume string) (string, error) {
	id, err := g.BeginToImage(ctx, name, format, volume)
	if err != nil {
		return "", err
	}
	if _, err := g.c.waitFor(ctx, volume, "available"); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	return id, g.c.procs.wait(ctx, "image "+name, func(ctx context.Context) error {
		image, err := images.Get(ctx, g.images, id).Extract()
		if err == nil && image.Status != images.ImageStatusActive {
			err = fmt.Errorf("it is %s", image.Status)
		}
		return err
	})
}

// BeginToImage asks for an image of a volume, and returns the id that it will have.
func (g *Glance) BeginToImage(ctx context.Context, name, format, volume string) (string, error) {
	made, err := volumes.UploadImage(ctx, g.c.admin, volume,
		volumes.UploadImageOpts{ImageName: name, DiskFormat: format, ContainerFormat: "bare"}).Extract()
	if err != nil {
		return "", fmt.Errorf("make an image of volume %s: %w", volume, err)
	}
	return made.ImageID, nil
}

// BeginFromImage asks for a volume that begins as an image, and returns its id.
func (g *Glance) BeginFromImage(ctx context.Context, name string, gib int, image string) (string, error) {
	v, err := volumes.Create(ctx, g.c.admin, volumes.CreateOpts{Name: name, Size: gib, ImageID: image},
		nil).Extract()
	if err != nil {
		return "", fmt.Errorf("begin volume %s of an image: %w", name, err)
	}
	return v.ID, nil
}

// CreateFromImage makes a volume that begins as an image.
func (g *Glance) CreateFromImage(ctx context.Context, name string, gib int, image string) (Volume, error) {
	return g.c.createVolume(ctx, volumes.CreateOpts{Name: name, Size: gib, ImageID: image})
}

// DeleteImage deletes an image, and the volume that it is, if it is one.
func (g *Glance) DeleteImage(ctx context.Context, id string) error {
	if err := images.Delete(ctx, g.images, id).Err; err != nil {
		return fmt.Errorf("delete image %s: %w", id, err)
	}
	return nil
}
