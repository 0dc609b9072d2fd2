package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listHosts(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	connected, err := flagQuery(c, "connected")
	if err != nil {
		return err
	}
	hosts, err := s.hosts(c, "")
	if err != nil {
		return err
	}
	if forwarded(c) { // the whole part of this node, whatever page the caller is to get
		write(c, http.StatusOK, "application/json", wire.Page[wire.Host]{Items: hosts})
		return nil
	}
	if connected {
		hosts = slices.DeleteFunc(hosts, func(h wire.Host) bool { return len(h.Connections) == 0 })
	}
	page, err := manager.HostPage(p, hosts)
	if err != nil {
		return err
	}
	return answer(c, page)
}

func (s *Server) getHost(c *gin.Context) error {
	nqn := param(c, "host")
	if err := cluster.ValidateNQN("host", nqn); err != nil {
		return refuse(wire.InvalidField, "host", "%v", err)
	}
	hosts, err := s.hosts(c, nqn)
	if err != nil {
		return err
	}
	hosts = slices.DeleteFunc(hosts, func(h wire.Host) bool { return h.NQN != nqn })
	if forwarded(c) {
		write(c, http.StatusOK, "application/json", wire.Page[wire.Host]{Items: hosts})
		return nil
	}
	if len(hosts) == 0 {
		return refuse(wire.NotFound, "", "host %q may attach nothing and is not connected", nqn)
	}
	return answer(c, hosts[0])
}

func (s *Server) deleteHost(c *gin.Context) error {
	if err := s.o.Manager.Revoke(c.Request.Context(), param(c, "host")); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// hosts lists what is known of hosts: who may attach what, and who is connected to which node; host, when not
// empty, is the only one asked for. A call that was passed on is about the connections to this node.
func (s *Server) hosts(c *gin.Context, host string) ([]wire.Host, error) {
	own := func(ctx context.Context) (wire.Page[wire.Host], error) {
		connected := s.o.Surveyor.Connections()
		if host != "" {
			connected = slices.DeleteFunc(connected, func(h wire.Host) bool { return h.NQN != host })
		}
		hosts, err := s.o.Manager.Connected(ctx, connected)
		return wire.Page[wire.Host]{Items: hosts}, err
	}
	if forwarded(c) {
		part, err := own(c.Request.Context())
		return part.Items, err
	}
	hosts, err := s.o.Manager.Hosts(c.Request.Context(), host)
	if err != nil {
		return nil, err
	}
	nodes, err := s.o.Manager.AllNodes(c.Request.Context())
	if err != nil {
		return nil, err
	}
	missing := []cluster.NodeID{}
	fan(s, c, nodes, fanTimeout, own, func(n wire.Node, part wire.Page[wire.Host], err error) {
		if err != nil {
			missing = append(missing, n.Number)
			return
		}
		hosts = append(hosts, part.Items...)
	})
	slices.Sort(missing)
	return joinHosts(hosts, missing), nil
}

// joinHosts makes one of what is known of each host, in order.
func joinHosts(parts []wire.Host, missing []cluster.NodeID) []wire.Host {
	slices.SortStableFunc(parts, func(a, b wire.Host) int { return strings.Compare(a.NQN, b.NQN) })
	out := []wire.Host{}
	for _, h := range parts {
		if n := len(out); n > 0 && out[n-1].NQN == h.NQN {
			out[n-1].Access = append(out[n-1].Access, h.Access...)
			out[n-1].Connections = append(out[n-1].Connections, h.Connections...)
			continue
		}
		h.Missing = missing
		out = append(out, h)
	}
	for _, h := range out {
		slices.SortFunc(h.Connections, func(a, b wire.HostConnection) int {
			return cmp.Or(cmp.Compare(a.Node, b.Node), strings.Compare(a.NQN, b.NQN),
				strings.Compare(a.Since, b.Since))
		})
	}
	return out
}
