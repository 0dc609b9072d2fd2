package guest

import (
	"fmt"
	"path/filepath"
	"strings"
)

// machine is what one QEMU process is started with.
type machine struct {
	prepared string // directory made by setup.sh
	initrd   string
	control  string // ADDRESS/TOKEN for the agent
	tscKHz   uint64
	forward  map[int]int // port in the guest -> port of 127.0.0.1
	options  Options
}

// args returns QEMU's arguments.
func (m machine) args() []string {
	o := m.options
	network := "user,id=n0"
	for inside, outside := range m.forward {
		network += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", outside, inside)
	}
	args := []string{
		"-machine", "microvm,acpi=on,isa-serial=on,rtc=on,pcie=off",
		"-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", fmt.Sprint(o.CPUs), "-m", fmt.Sprint(o.MemoryMiB),
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", filepath.Join(m.prepared, "vmlinux"), "-initrd", m.initrd,
		"-netdev", network, "-device", "virtio-net-device,netdev=n0",
	}
	if o.Capture != "" {
		args = append(args, "-object", "filter-dump,id=f0,netdev=n0,file="+o.Capture)
	}
	if o.HostRoot {
		args = append(args,
			"-fsdev", "local,id=fs0,path=/,security_model=none,readonly=on,multidevs=remap",
			"-device", "virtio-9p-device,fsdev=fs0,mount_tag=hostroot")
	} else {
		args = append(args,
			"-drive", "if=none,id=tools,format=raw,readonly=on,file="+filepath.Join(m.prepared, "tools.img"),
			"-device", "virtio-blk-device,drive=tools")
	}
	return append(args, "-append", m.commandLine())
}

// commandLine returns the kernel's. Apart from the first two words and the last, everything is there to boot
// fast under emulation: no self-tests, no mitigations, no jitter entropy, no built-in certificates.
func (m machine) commandLine() string {
	words := []string{
		"console=ttyS0", "panic=-1",
		fmt.Sprintf("tsc_early_khz=%d", m.tscKHz), "tsc=reliable", "no_timer_check",
		"initcall_blacklist=jent_mod_init,load_system_certificate_list", "cryptomgr.notests",
		"nokaslr", "mitigations=off", "init_on_alloc=0", "audit=0", "lsm=", "ima=off", "evm=off",
		"nowatchdog", "rcupdate.rcu_expedited=1", "no5lvl", "transparent_hugepage=never",
		"random.trust_cpu=on", "quiet", "loglevel=3",
	}
	if m.options.HostRoot {
		words = append(words, "hostroot=9p", "moddir="+filepath.Join(m.prepared, "modules"))
	}
	return strings.Join(append(words, m.options.CommandLine, "control="+m.control), " ")
}
