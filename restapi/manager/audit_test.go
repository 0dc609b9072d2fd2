package manager_test

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// TestAuditFinds breaks each rule between records by hand: an audit that finds nothing would make the crash
// tests worthless.
func TestAuditFinds(t *testing.T) {
	id := apitest.UUID(1)
	vol := cluster.KeyVolume(id)
	owner := cluster.KeyOwner(cluster.VolumeKey{VUID: 1, Generation: 1})
	name := cluster.KeyVolumeName("gold", "v", "")
	for story, c := range map[string]struct {
		del   string
		put   string
		value string
		want  string
	}{
		"a name without volume":      {put: name + "w", value: `"` + id.String() + `"`, want: "names without"},
		"a volume without name":      {del: name, want: "the name of volume"},
		"a volume without owner":     {del: owner, want: "no owner record"},
		"an owner without volume":    {del: vol, want: "owner records without volume"},
		"a name that points away":    {put: name, value: `"` + apitest.UUID(7).String() + `"`, want: "points to"},
		"a counter that fell back":   {put: cluster.KeyCounterVUID, value: "0", want: "above the counter"},
		"a device counter too small": {put: cluster.KeyCounterDevice, value: "1", want: "above the counter"},
		"a pool that is gone":        {del: cluster.KeyPool("gold"), want: "does not exist"},
		"a node that is gone":        {del: cluster.KeyNode(2), want: "does not exist"},
		"a device that is gone":      {del: cluster.KeyDevice(2), want: "does not exist"},
		"no voters":                  {del: cluster.KeyVoters, want: "0 voters and 1 pools"},
		"two voters":                 {put: cluster.KeyVoters, value: `{"nodes":[1,2]}`, want: "even number"},
		"a malformed volume": {put: vol, value: `{"uuid":"` + id.String() + `","name":"v","pool":"gold",` +
			`"size":5,"key":{"vuid":1,"generation":1}}`, want: "malformed"},
		"a pool on a failed device": {put: cluster.KeyDevice(2), value: `{"number":2,"node":2,"state":"failed"}`,
			want: "not online"},
		"a malformed pool": {put: cluster.KeyPool("gold"), value: `{"name":"gold"}`, want: "malformed"},
		"a project that uses nothing": {put: cluster.KeyProject("acme"),
			value: `{"name":"acme","used":{"volumes":1,"bytes":4096}}`, want: "is charged for"},
		"a pool that counts wrong": {put: cluster.KeyProvisioned("gold"), value: `{"thin":4096}`,
			want: "the volumes have"},
		"two nodes of one uuid": {put: cluster.KeyNode(3), value: `{"number":3,"uuid":"` + id.String() + `"}`,
			want: "two nodes"},
	} {
		c0 := apitest.New(t)
		c0.Pool()
		c0.Volume(1, "v")
		c0.Audit()
		txn := store.Txn{}
		if c.del != "" {
			txn.Delete, txn.Blind = []string{c.del}, []string{c.del}
		} else {
			txn.Put, txn.Blind = []store.Put{{Key: c.put, Value: []byte(c.value)}}, []string{c.put}
		}
		if _, err := c0.Store.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
		broken, err := c0.Manager.Audit(t.Context())
		if err != nil || !strings.Contains(strings.Join(broken, "\n"), c.want) {
			t.Errorf("%s: found %q, %v; want %q", story, broken, err, c.want)
		}
	}
}
