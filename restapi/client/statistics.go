package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// statistics asks for the totals of something and for samples of the time before now; 0: none.
func (c *Client) statistics(ctx context.Context, path string,
	history time.Duration) (wire.Statistics, error) {
	q := url.Values{"history": {strconv.FormatInt(int64(history/time.Second), 10)}}
	return get[wire.Statistics](ctx, c, path+"/statistics", q)
}

// GetVolumeStatistics tells what hosts did with a volume.
func (c *Client) GetVolumeStatistics(ctx context.Context, id cluster.UUID,
	history time.Duration) (wire.Statistics, error) {
	return c.statistics(ctx, "/v1/volumes/"+id.String(), history)
}

// GetPoolStatistics tells what hosts did with the volumes of a pool.
func (c *Client) GetPoolStatistics(ctx context.Context, name string,
	history time.Duration) (wire.Statistics, error) {
	return c.statistics(ctx, "/v1/pools/"+segment(name), history)
}

// GetDeviceStatistics tells what a disk was asked to do.
func (c *Client) GetDeviceStatistics(ctx context.Context, d cluster.DeviceID,
	history time.Duration) (wire.Statistics, error) {
	return c.statistics(ctx, "/v1/devices/"+number(d), history)
}
