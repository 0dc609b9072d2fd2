package daemon

import (
	"context"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/restapi/barbican"
)

// keysLook is how often a node looks whether it has the current cluster key, and whether a volume that it
// owns is still wrapped with a former one.
const keysLook = 2 * time.Second

// openKeys opens the key source, if there is one. A key file that cannot be used is an error now, not when
// somebody waits for a volume; Barbican may come later.
func openKeys(file, cloud string) (*keyring.Ring, error) {
	switch {
	case cloud != "":
		return keyring.New(barbican.New(barbican.Cloud(cloud))), nil
	case file == "":
		return keyring.New(nil), nil
	}
	f := keyring.File{Path: file}
	if _, err := f.Keys(); err != nil {
		return nil, err
	}
	return keyring.New(f), nil
}

// tendKeys finds the current cluster key, so that the cluster knows that this node has it, and wraps the data
// keys of the volumes that this node owns with it, and those of the authority. After a rotation that is one
// record for each.
func (d *daemon) tendKeys(ctx context.Context) {
	var seen sealedAuthority
	for pause(ctx, keysLook) == nil {
		s := d.watcher.Newest()
		if s == nil || s.ClusterKeys.Current == "" {
			continue
		}
		if _, err := d.keys.Key(ctx, s.ClusterKeys.Current); err != nil {
			d.log.WithError(err).Debug("the current cluster key cannot be had")
			continue
		}
		d.tendAuthorityKey(ctx, s, &seen)
		for _, id := range outdated(s, d.state.Node) {
			if changed, err := d.manager.RewrapVolume(ctx, id); err != nil {
				d.log.WithError(err).WithField("volume", id.String()).Debug("data key cannot be wrapped again yet")
				break
			} else if changed {
				d.log.WithField("volume", id.String()).Infof("data key is wrapped with cluster key %q now",
					s.ClusterKeys.Current)
			}
		}
	}
}

// sealedAuthority is a record of the authority, by its generation, that the cluster key wraps.
type sealedAuthority struct {
	generation uint64
	key        string
}

// tendAuthorityKey has the keys of the authority wrapped with the current cluster key; seen is what was found
// so already.
func (d *daemon) tendAuthorityKey(ctx context.Context, s *cluster.State, seen *sealedAuthority) {
	now := sealedAuthority{s.Authority.Generation, s.ClusterKeys.Current}
	if now == *seen {
		return
	}
	changed, err := d.manager.RewrapAuthority(ctx)
	switch {
	case err != nil:
		d.log.WithError(err).Debug("the key of the certificate authority cannot be wrapped yet")
	case changed:
		d.log.Infof("the key of the certificate authority is wrapped with cluster key %q now", now.key)
	default:
		*seen = now
	}
}

// outdated lists the volumes of a node whose data key is wrapped with a former cluster key.
func outdated(s *cluster.State, node cluster.NodeID) (out []cluster.UUID) {
	for key, v := range s.Volumes {
		e, o := v.Encryption, s.Owners[key]
		if e != nil && len(e.Wrapped) > 0 && e.ClusterKey != s.ClusterKeys.Current && o != nil &&
			o.Gateway == node {
			out = append(out, v.UUID)
		}
	}
	return out
}
