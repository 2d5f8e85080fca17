package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/server"
)

// onDisk is a desk below a folder, whose configuration serves nothing but its data directory.
func onDisk(t *testing.T, dir string) *desk {
	t.Helper()
	d := &desk{t, filepath.Join(dir, "h")}
	d.says(0, "Written to", "quickstart", d.dir)
	if err := os.WriteFile(d.config(), []byte("policy: policy.yaml\nkeys: {unlock: \"file:data/keys/passphrase\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) config() string { return filepath.Join(d.dir, "chaperone.yaml") }

// serve starts a serve of its own process and waits until it serves; kill ends it as the kernel would.
func (d *desk) serve() (kill func()) {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{"chaperone", "serve", "--config", d.config()}}
	log, err := cmd.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	up, end := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(end)
		defer close(up)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if strings.Contains(lines.Text(), `"msg":"serving"`) {
				up <- true
			}
		}
	}()
	ended := false
	kill = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			<-end
			cmd.Wait()
		}
	}
	d.t.Cleanup(kill)
	if !<-up {
		d.t.Fatal("serve does not start")
	}
	return kill
}

// readerFunc makes an io.Reader of a function.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestServeKilledUnderACommand kills a real serve while a command sends to it: no errno and no EOF are the first words, and what to do is said.
func TestServeKilledUnderACommand(t *testing.T) {
	d := onDisk(t, t.TempDir())
	kill := d.serve()
	var errOut bytes.Buffer
	e := &command.Env{Ctx: t.Context(), In: nil, Out: io.Discard, ErrOut: &errOut}
	err := command.Operate(e, &command.DataFlags{Config: d.config()}, "record", struct{}{}, readerFunc(func(p []byte) (int, error) {
		kill()
		return 0, io.EOF
	}), io.Discard)
	if status := command.Report(e, err); status != 2 {
		t.Errorf("exit status %d", status)
	}
	said := errOut.String()
	if !strings.HasPrefix(said, "chaperone: error: record: the process that serves ") || !strings.Contains(said, "hint: what was acknowledged before is on record") {
		t.Errorf("it says\n%s", said)
	}
}

// TestInspectSaysHowManyWereAcknowledged breaks the third recording of a run off.
func TestInspectSaysHowManyWereAcknowledged(t *testing.T) {
	d := onDisk(t, t.TempDir())
	store, rules := d.open()
	defer store.Close()
	l, err := control.Listen(store.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	ops := server.Operations(store, rules)
	for i, op := range ops {
		if op.Name == "record" {
			ops[i].Run = func(ctx context.Context, call *control.Call) error {
				if calls.Add(1) == 3 {
					panic(http.ErrAbortHandler)
				}
				return op.Run(ctx, call)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- control.Serve(ctx, l, store.Dir, ops, store.Book) }()
	defer func() { cancel(); <-served }()
	status, out, said := runCommand(t, "inspect", "--json", "--config", d.config(), demoCapture(t))
	if status != 2 || !strings.HasPrefix(said, "chaperone: error: recording stopped, 2 events of this run were acknowledged: record: the process that serves ") || !strings.Contains(said, "hint: ") {
		t.Errorf("exit status %d, it says\n%s", status, said)
	}
	if strings.Contains(out, `"type":"error"`) {
		t.Errorf("the capture is blamed:\n%s", out)
	}
	if calls.Load() != 3 {
		t.Errorf("%d calls: it went on", calls.Load())
	}
}

// TestFullDiskUnderACommand fills the disk of a real serve: the command names disk and folder.
func TestFullDiskUnderACommand(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("a small file system cannot be mounted: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	d := onDisk(t, dir)
	d.serve()
	capture := demoCapture(t)
	if status, _, said := runCommand(t, "inspect", "--config", d.config(), capture); status != 1 {
		t.Fatalf("exit status %d with room enough: %s", status, said)
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for {
		for chunk := make([]byte, 1<<12); ; {
			if _, err := ballast.Write(chunk); err != nil {
				break
			}
		}
		status, _, said := runCommand(t, "inspect", "--config", d.config(), capture)
		if status == 1 {
			continue // until the last page of the segment is full
		}
		if status != 2 || !strings.HasPrefix(said, "chaperone: error: recording stopped, ") || !strings.Contains(said, "no space left on device") || !strings.Contains(said, "hint: the disk of "+filepath.Join(d.dir, "data")+" is full") {
			t.Errorf("exit status %d, it says\n%s", status, said)
		}
		return
	}
}
