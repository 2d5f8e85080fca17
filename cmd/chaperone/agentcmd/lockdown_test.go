package agentcmd_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKilledInLockdown kills the worker where its own policy and data lie on a file system whose files cannot be opened unasked: the next one
// must come to decide, although nobody else answers what it opens.
func TestKilledInLockdown(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	policy := f.write(filepath.Join(f.dir, "policy.yaml"), denyPolicy, 0o644)
	if err := os.Mkdir(filepath.Join(f.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.start("--mode", "lockdown", "--policy", policy, "--data", filepath.Join(f.dir, "data"))
	f.want(f.program("brought", ""), true)
	for n := range 2 {
		f.write(policy, denyPolicy+"# "+strconv.Itoa(n)+"\n", 0o644)
		later := f.program("brought later "+strconv.Itoa(n), "") // it asks a worker: nobody saw it before
		for _, pid := range f.workers() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		f.want(later, true)
	}
	f.want(f.program("unknown", "x"), false)
}
