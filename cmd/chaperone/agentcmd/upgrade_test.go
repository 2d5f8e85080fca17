package agentcmd_test

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUpgradeToWhatDoesNotWork replaces the program by one that decides nothing: what came with it and must run starts all the same, so that it
// can be taken back, and messengers do not.
func TestUpgradeToWhatDoesNotWork(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.start()
	// Where one of the programs is looked for that a machine cannot do without, on the file system that is watched.
	const opt, tools = "/opt", "/opt/orbit/bin"
	f.run("mount", "-t", "tmpfs", "none", opt)
	f.run("mkdir", "-p", tools, filepath.Join(f.dir, "tools"))
	f.run("mount", "--bind", filepath.Join(f.dir, "tools"), tools)
	bad, good := f.program("bad", messenger), f.program("good", "")
	time.Sleep(1100 * time.Millisecond) // their change is not fresh any more, so what is allowed is remembered
	f.want(bad, false)
	f.want(good, true)

	f.run("mount", "--bind", "/bin/false", f.binary)
	script := filepath.Join(tools, "script")
	f.write(script, "#!/bin/sh\nexit 0\n", 0o755)
	old := f.workers()
	if err := unix.Kill(f.agent.Process.Pid, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for _, pid := range old {
		(&killing{field: f}).until(func() bool { return unix.Kill(pid, 0) != nil }, "the worker does not end")
	}
	f.want(script, true)
	f.want(bad, false)
	f.want(good, true)

	if err := unix.Unmount(f.binary, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	f.recovers("after the upgrade was taken back")
	f.want(bad, false)
}
