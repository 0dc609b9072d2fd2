package manager

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// orNone is how records say that there is no compression.
func orNone(asked string) string {
	if asked == cluster.CompressionNone {
		return ""
	}
	return asked
}

// asCompressed settles whether a new volume is compressed: as asked, else as its pool says. snap is what
// readForCreate has read.
func asCompressed(snap store.Snapshot, rec *cluster.Volume, asked string) error {
	if snap.One(1).Rev == 0 {
		return nil // no pool: refused by makeVolume
	}
	pool, err := decode[cluster.Pool](snap.One(1))
	if err != nil {
		return err
	}
	if asked == "" {
		asked = pool.Compression
	}
	rec.Compression = orNone(asked)
	return invalid(pool.Compressible("compression", rec.Compression))
}
