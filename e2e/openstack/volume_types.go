package openstack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/qos"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
)

// CreateType makes a volume type; bounds, when there are any, are its QoS specs for the back end.
func (c *Cinder) CreateType(ctx context.Context, name string, bounds map[string]string) error {
	made, err := volumetypes.Create(ctx, c.admin, volumetypes.CreateOpts{Name: name}).Extract()
	if err != nil {
		return fmt.Errorf("create volume type %s: %w", name, err)
	}
	if len(bounds) == 0 {
		return nil
	}
	spec, err := qos.Create(ctx, c.admin,
		qos.CreateOpts{Name: name, Consumer: qos.ConsumerBack, Specs: bounds}).Extract()
	if err != nil {
		return fmt.Errorf("create QoS spec %s: %w", name, err)
	}
	if err := qos.Associate(ctx, c.admin, spec.ID, qos.AssociateOpts{VolumeTypeID: made.ID}).Err; err != nil {
		return fmt.Errorf("associate QoS spec %s: %w", name, err)
	}
	return nil
}

// CreateTypeWith makes a volume type with extra specs.
func (c *Cinder) CreateTypeWith(ctx context.Context, name string, specs map[string]string) error {
	if err := volumetypes.Create(ctx, c.admin,
		volumetypes.CreateOpts{Name: name, ExtraSpecs: specs}).Err; err != nil {
		return fmt.Errorf("create volume type %s: %w", name, err)
	}
	return nil
}

// Specify gives volumes without a type extra specs: those of the type that Cinder takes for them.
func (c *Cinder) Specify(ctx context.Context, specs map[string]string) error {
	pages, err := volumetypes.List(c.admin, volumetypes.ListOpts{}).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("volume types: %w", err)
	}
	types, err := volumetypes.ExtractVolumeTypes(pages)
	if err != nil {
		return fmt.Errorf("volume types: %w", err)
	}
	i := slices.IndexFunc(types, func(t volumetypes.VolumeType) bool { return t.Name == "__DEFAULT__" })
	if i < 0 {
		return errors.New("volume types: there is no default")
	}
	opts := volumetypes.ExtraSpecsOpts(specs)
	if err := volumetypes.CreateExtraSpecs(ctx, c.admin, types[i].ID, opts).Err; err != nil {
		return fmt.Errorf("extra specs of the default type: %w", err)
	}
	return nil
}

// Retype gives a volume another type where it is, and waits.
func (c *Cinder) Retype(ctx context.Context, id, volumeType string) error {
	before, err := c.Show(ctx, id)
	if err != nil {
		return err
	}
	if err := c.BeginRetype(ctx, id, volumeType); err != nil {
		return err
	}
	after, err := c.waitFor(ctx, id, before.Status)
	if err == nil && after.Type != volumeType {
		err = fmt.Errorf("volume %s is of type %s still", id, after.Type)
	}
	return err
}
