package client

import (
	"context"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// ListAudit lists one page of the calls that changed something through one node, newest first.
func (c *Client) ListAudit(ctx context.Context, node cluster.NodeID, opts ListOpts) (
	wire.Page[wire.AuditRecord], error,
) {
	return get[wire.Page[wire.AuditRecord]](ctx, c, fmt.Sprintf("/v1/nodes/%d/audit", node), opts.query())
}
