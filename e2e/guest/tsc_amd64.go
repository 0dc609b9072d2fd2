package guest

import "time"

// rdtsc reads the processor's time stamp counter.
func rdtsc() uint64

// tscKHz measures the counter's frequency. A microvm has no timer against which the guest's kernel could
// calibrate the counter (emulated, it follows ours): without being told it hangs while booting.
func tscKHz() uint64 {
	begin, from := time.Now(), rdtsc()
	timer := time.NewTimer(100 * time.Millisecond)
	<-timer.C
	ticks, took := rdtsc()-from, time.Since(begin)
	return ticks * uint64(time.Millisecond) / uint64(took)
}
