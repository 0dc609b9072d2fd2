//go:build !amd64

package guest

// tscKHz is not needed: setup.sh refuses machines that are not x86-64.
func tscKHz() uint64 { return 0 }
