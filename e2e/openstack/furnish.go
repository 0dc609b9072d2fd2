package openstack

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"

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
	properties := map[string]string{commandLine: "console=ttyS0 quiet"}
	for _, one := range [][3]string{{"kernel_id", "aki", kernel}, {"ramdisk_id", "ari", initrd}} {
		f, err := os.Open(one[2])
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if properties[one[0]], err = n.Upload(ctx, one[0], one[1], nil, f); err != nil {
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

// commandLine is the property of an image that its kernel is started with.
const commandLine = "os_command_line"

// CreateImage makes an image of a disk, with the kernel of this Nova and more arguments for that, and returns
// its id.
func (n *Nova) CreateImage(ctx context.Context, name string, disk io.Reader, args ...string) (string, error) {
	properties := maps.Clone(n.boot)
	properties[commandLine] = strings.Join(append([]string{n.boot[commandLine]}, args...), " ")
	return n.Upload(ctx, name, "raw", properties, disk)
}
