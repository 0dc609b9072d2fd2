package manager_test

import (
	"sync"
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// TestOneAuthority: nodes that ask at the same time, and later, get the same.
func TestOneAuthority(t *testing.T) {
	c := apitest.New(t)
	found := make([]string, 8)
	var wg sync.WaitGroup
	for i := range found {
		wg.Go(func() {
			a, err := c.Manager.Authority(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			found[i] = a.Certificate + a.Key
		})
	}
	wg.Wait()
	for _, f := range found {
		if f != found[0] || f == "" {
			t.Errorf("authorities %v", found)
			break
		}
	}
}
