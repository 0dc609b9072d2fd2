package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// bounds are the flags of one set of limits, as they were given.
type bounds struct{ iops, bandwidth string }

func (b *bounds) flags(f *pflag.FlagSet, prefix, of string) {
	f.StringVar(&b.iops, prefix+"iops", "", "most commands a second of "+of+", or unlimited")
	f.StringVar(&b.bandwidth, prefix+"bandwidth", "", "most bytes a second of "+of+", such as 100MiB, or "+
		"unlimited")
}

// apply changes what was given and leaves the rest.
func (b *bounds) apply(q *wire.QoS, burst time.Duration) error {
	for _, x := range []struct {
		text  string
		to    *uint64
		parse func(string) (uint64, error)
	}{
		{b.iops, &q.IOPS, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 63) }},
		{b.bandwidth, &q.Bandwidth, ParseSize},
	} {
		switch x.text {
		case "":
			continue
		case unbounded:
			*x.to = 0
			continue
		}
		n, err := x.parse(x.text)
		if err != nil {
			return fmt.Errorf("%q is no limit: %w", x.text, err)
		}
		*x.to = n
	}
	if burst != 0 {
		q.BurstMS = uint32(burst.Milliseconds())
	}
	return nil
}

func burstFlag(f *pflag.FlagSet, to *time.Duration) {
	f.DurationVar(to, "burst", 0, "how much of the rate may come at once, 10ms to 60s (default 100ms)")
}

func poolQoS(g *global) *cobra.Command {
	var total, each bounds
	var burst time.Duration
	c := &cobra.Command{
		Use: "qos POOL", Short: "Bound what the hosts of a pool's volumes may do",
		Long: "Bound what the hosts of a pool's volumes may do, all together and each volume by itself. What " +
			"is not given stays as it is. Hosts that want more get slower, never an error.",
		Example: "  ashlar pool qos fast --volume-iops 5000 --volume-bandwidth 200MiB\n" +
			"  ashlar pool qos fast --iops 50000 --burst 500ms\n" +
			"  ashlar pool qos fast --iops unlimited",
		Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			now, err := c.GetPool(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			q := wire.PoolQoS{Total: &wire.QoS{}, Volume: &wire.QoS{}}
			if now.QoS != nil {
				q.Total, q.Volume = orEmpty(now.QoS.Total), orEmpty(now.QoS.Volume)
			}
			if err := errors.Join(total.apply(q.Total, burst), each.apply(q.Volume, burst)); err != nil {
				return err
			}
			p, err := c.SetPoolQoS(cmd.Context(), args[0], q, client.IfMatch(now.ETag))
			if err != nil {
				return err
			}
			return g.print(cmd, p, poolTable(p))
		}),
	}
	total.flags(c.Flags(), "", "all volumes together")
	each.flags(c.Flags(), "volume-", "each volume")
	burstFlag(c.Flags(), &burst)
	return c
}

func volumeQoS(g *global) *cobra.Command {
	var b bounds
	var burst time.Duration
	var reset bool
	c := &cobra.Command{
		Use: "qos VOLUME", Short: "Bound what the hosts of a volume may do",
		Long: "Bound what the hosts of a volume may do, instead of what its pool says for each volume. What " +
			"is not given stays as it is. Hosts that want more get slower, never an error.",
		Example: "  ashlar volume qos disk1 --iops 1000 --bandwidth 50MiB\n  ashlar volume qos disk1 --as-pool",
		Args:    cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			match := client.IfMatch(v.ETag)
			if reset {
				v, err = c.ResetVolumeQoS(cmd.Context(), v.ID, match)
			} else {
				q := orEmpty(v.QoS)
				if err := b.apply(q, burst); err != nil {
					return err
				}
				v, err = c.SetVolumeQoS(cmd.Context(), v.ID, *q, match)
			}
			if err != nil {
				return err
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	b.flags(c.Flags(), "", "the volume")
	burstFlag(c.Flags(), &burst)
	c.Flags().BoolVar(&reset, "as-pool", false, "let the bounds of the pool count again")
	return c
}

func orEmpty(q *wire.QoS) *wire.QoS {
	if q == nil {
		return &wire.QoS{}
	}
	return q
}

// qosText is limits in words.
func qosText(q *wire.QoS) string {
	var parts []string
	if q.IOPS > 0 {
		parts = append(parts, fmt.Sprintf("%d commands/s", q.IOPS))
	}
	if q.Bandwidth > 0 {
		parts = append(parts, bytesText(q.Bandwidth)+"/s")
	}
	if len(parts) == 0 {
		return unbounded
	}
	if q.BurstMS > 0 {
		parts = append(parts, fmt.Sprintf("burst %v", time.Duration(q.BurstMS)*time.Millisecond))
	}
	return strings.Join(parts, ", ")
}
