package embedetcd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
)

// TestWhatEtcdMaySay: information is dropped, warnings come through with their fields, a warning that
// repeats is cut off, and what belongs to every start is not shown at all.
func TestWhatEtcdMaySay(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	z := zapToLogrus(log).With(zap.String("member", "m1"))
	z.Info("nobody asked")
	for range 100 {
		z.Warn("slow fdatasync", zap.Int("took", 7))
	}
	z.Error("bootstrap failed")
	z.Error("disk is gone")
	got := out.String()
	if n := strings.Count(got, "etcd: slow fdatasync"); n != sampleFirst {
		t.Errorf("the warning appears %d times, want %d", n, sampleFirst)
	}
	for _, want := range []string{"level=warning", "member=m1", "took=7",
		`level=error msg="etcd: disk is gone"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	for _, not := range []string{"nobody asked", "bootstrap failed"} {
		if strings.Contains(got, not) {
			t.Errorf("%q is in %s", not, got)
		}
	}
	zapToLogrus(nil).Error("no logger, no line")
}
