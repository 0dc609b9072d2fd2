package daemon

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestTheFounderDiesRightAfterTheOthersJoined takes the founder away as soon as all three members vote,
// before the others had a reason to look for more than the one address they joined through. They are a
// majority.
func TestTheFounderDiesRightAfterTheOthersJoined(t *testing.T) {
	ctx := testContext(t)
	a := testOptions(t, "a")
	a.First = First{Bootstrap: true}
	pa := start(t, a)
	waitUp(t, ctx, a)
	var others []Options
	for _, name := range []string{"b", "c"} {
		tok, err := admin(t, a).CreateToken(ctx, wire.TokenCreate{Name: name, Role: "join", ExpiresSeconds: 600})
		if err != nil {
			t.Fatal(err)
		}
		o := testOptions(t, name)
		o.First = First{JoinURLs: []string{"http://" + a.Listen.REST}, JoinToken: tok.Secret}
		start(t, o)
		others = append(others, o)
	}
	etcd, err := embedetcd.Dial([]string{"http://" + a.Listen.EtcdClient}, false, nil, a.Log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	rest := admin(t, a, others...)
	eventually(t, ctx, "three voters", func() error {
		try, cancel := context.WithTimeout(ctx, 10*time.Second) // one attempt must not use up all the time
		defer cancel()
		n, err := embedetcd.Settle(try, etcd)
		if err == nil && n.Voters != 3 {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})

	pa.stop(t)
	eventually(t, ctx, "the others go on", func() error { return online(ctx, rest, 2) })
}
