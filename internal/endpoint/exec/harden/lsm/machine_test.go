package lsm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The kernel of the tests is Debian's, as it boots on any machine: packaging/peers.sh test unpacks it there.
const kernels = "/var/cache/chaperone-kernel"

// bootTime is how long a machine may take that is emulated beside other work. It takes 5 s with nothing else to do.
const bootTime = 8 * time.Minute

// TestKernel boots a kernel in which this test binary is all that runs, and has it load the programs and go around them.
func TestKernel(t *testing.T) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	kernel := filepath.Join(kernels, "vmlinuz")
	if _, missing := os.Stat(kernel); err != nil || missing != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal("needs qemu-system-x86_64 and a kernel in "+kernels, err, missing)
		}
		t.Skip("needs qemu-system-x86_64 and a kernel in " + kernels + ": packaging/peers.sh test")
	}
	dir := t.TempDir()
	binary, image := filepath.Join(dir, "init"), filepath.Join(dir, "initramfs")
	build := exec.Command("go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", binary, ".") // without libraries, which are not there
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	writeImage(t, image, map[string]string{"init": binary, "overlay.ko": filepath.Join(kernels, "overlay.ko")})
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	defer cancel()
	machine := exec.CommandContext(ctx, qemu, "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-kernel", kernel, "-initrd", image, "-append", "console=ttyS0 loglevel=1 panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1")
	machine.WaitDelay = time.Second
	out, err := machine.CombinedOutput()
	text := strings.ReplaceAll(string(out), "\r", "")
	if err != nil || !strings.Contains(text, "all tried\n") || strings.Contains(text, "FAIL ") {
		t.Fatalf("%v\n%s", err, text)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ok ") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// writeImage writes files as the kernel unpacks its first file system (cpio, newc).
func writeImage(t *testing.T, path string, files map[string]string) {
	t.Helper()
	var b bytes.Buffer
	entry := func(name string, mode int, content []byte) {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", b.Len(), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
		pad := func() {
			for b.Len()%4 != 0 {
				b.WriteByte(0)
			}
		}
		pad()
		b.Write(content)
		pad()
	}
	for _, dir := range []string{"proc", "sys", "dev", "tmp"} {
		entry(dir, 0o040755, nil)
	}
	for name, from := range files {
		f, err := os.Open(from)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		entry(name, 0o100755, content)
	}
	entry("TRAILER!!!", 0, nil)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
