package openstack

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"

	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// furnish makes a flavor and an image: a kernel and its initramfs, which need nothing of the disk that they
// are started with.
func (n *Nova) furnish(ctx context.Context) error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	init, err := os.ReadFile(filepath.Join(root, "e2e", "openstack", "guest-init"))
	if err != nil {
		return err
	}
	initrd := n.c.site.path("initrd")
	kernel, err := guest.Image(initrd, init)
	if err != nil {
		return err
	}
	properties := map[string]string{"os_command_line": "console=ttyS0 quiet"}
	for _, one := range [][3]string{{"kernel_id", "aki", kernel}, {"ramdisk_id", "ari", initrd}} {
		f, err := os.Open(one[2])
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if properties[one[0]], err = n.upload(ctx, one[0], one[1], nil, f); err != nil {
			return err
		}
	}
	n.boot = properties
	disk := 1
	made, err := flavors.Create(ctx, n.compute,
		flavors.CreateOpts{Name: "small", RAM: 256, VCPUs: 1, Disk: &disk}).Extract()
	if err != nil {
		return fmt.Errorf("create a flavor: %w", err)
	}
	n.flavor = made.ID
	return nil
}

// CreateImage makes an image of a disk, with the kernel of this Nova, and returns its id.
func (n *Nova) CreateImage(ctx context.Context, name string, disk io.Reader) (string, error) {
	return n.upload(ctx, name, "raw", n.boot, disk)
}

// upload makes a public image. Kernels and initramfses are contained in themselves, disks in nothing.
func (n *Nova) upload(ctx context.Context, name, format string, properties map[string]string,
	data io.Reader) (string, error) {
	container, public := format, images.ImageVisibilityPublic
	if format == "raw" {
		container = "bare"
	}
	made, err := images.Create(ctx, n.images, images.CreateOpts{Name: name, Visibility: &public,
		DiskFormat: format, ContainerFormat: container, Properties: properties}).Extract()
	if err != nil {
		return "", fmt.Errorf("create image %s: %w", name, err)
	}
	if err := imagedata.Upload(ctx, n.images, made.ID, data).Err; err != nil {
		return "", fmt.Errorf("upload image %s: %w", name, err)
	}
	return made.ID, nil
}

// ToImage makes an image, in format qcow2, of a detached volume, and returns its id.
func (n *Nova) ToImage(ctx context.Context, name, volume string) (string, error) {
	made, err := volumes.UploadImage(ctx, n.c.admin, volume,
		volumes.UploadImageOpts{ImageName: name, DiskFormat: "qcow2", ContainerFormat: "bare"}).Extract()
	if err != nil {
		return "", fmt.Errorf("make an image of volume %s: %w", volume, err)
	}
	if _, err := n.c.waitFor(ctx, volume, "available"); err != nil {
		return "", err
	}
	return made.ImageID, n.until(ctx, "image "+name, func(ctx context.Context) error {
		image, err := images.Get(ctx, n.images, made.ImageID).Extract()
		if err == nil && image.Status != images.ImageStatusActive {
			err = fmt.Errorf("it is %s", image.Status)
		}
		return err
	})
}

// CreateFromImage makes a volume that begins as an image.
func (n *Nova) CreateFromImage(ctx context.Context, name string, gib int, image string) (Volume, error) {
	return n.c.createVolume(ctx, volumes.CreateOpts{Name: name, Size: gib, ImageID: image})
}
