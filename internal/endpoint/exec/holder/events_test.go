package holder_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/holder"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

const workerMode = "CHAPERONE_TEST_WORKER" // how this test binary answers when it is a worker

// TestMain makes this test binary the workers of the tests.
func TestMain(m *testing.M) {
	if mode := os.Getenv(workerMode); mode != "" {
		os.Exit(work(mode))
	}
	os.Exit(m.Run())
}

// work answers as the mode says, and by the last letters of a file's name: "good" may start.
func work(mode string) int {
	if os.WriteFile(os.Getenv("CHAPERONE_TEST_PID"), []byte(strconv.Itoa(os.Getpid())), 0o600) != nil {
		return 1
	}
	send := func(m wire.Message) { _ = unix.Send(3, m.Append(nil), 0) }
	generation := uint64(1)
	if mode == "strict" {
		generation = 2 // by which nothing may start
	}
	send(wire.Message{Kind: wire.Generation, Generation: generation})
	var st unix.Stat_t
	if unix.Stat(os.Getenv("CHAPERONE_TEST_MUST"), &st) == nil {
		send(wire.Message{Kind: wire.MustRun, Key: wire.KeyOf(&st)})
	}
	if strings.HasPrefix(mode, "hands") && unix.Stat(filepath.Join(filepath.Dir(os.Getenv("CHAPERONE_TEST_MUST")), "handed"), &st) == nil {
		m := wire.Message{Kind: wire.Answer, Flags: wire.Allow | wire.Remember, Generation: generation, Key: wire.KeyOf(&st)}
		switch mode {
		case "hands what was allowed under another policy":
			m.Generation = 99
		case "hands what was not allowed":
			m.Flags = wire.Remember
		case "hands what was allowed once":
			m.Flags = wire.Allow
		}
		send(m)
	}
	send(wire.Message{Kind: wire.Ready})
	b, oob := make([]byte, wire.Size), make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := unix.Recvmsg(3, b, oob, 0)
		if err != nil {
			return 1
		}
		asked, err := wire.Parse(b)
		if err != nil {
			return 0 // the holder hung up
		}
		messages, _ := unix.ParseSocketControlMessage(oob[:n])
		fds, _ := unix.ParseUnixRights(&messages[0])
		name, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fds[0]))
		_ = unix.Close(fds[0])
		answer := wire.Message{Kind: wire.Answer, ID: asked.ID, Generation: generation}
		if strings.HasSuffix(name, "good") && mode != "strict" {
			answer.Flags = wire.Allow | wire.Remember
		}
		switch mode {
		case "silent", "hands", "hands what was allowed under another policy", "hands what was not allowed", "hands what was allowed once":
			continue
		case "nonsense":
			_ = unix.Send(3, []byte("nonsense"), 0)
			continue
		case "another":
			answer.ID += 1000 // nobody asked that
			send(answer)
			answer.ID -= 1000
		case "old": // of a policy that is not in force any more
			answer.Generation = 99
		}
		send(answer)
	}
}

// scene is a file system of its own with a holder that watches it.
type scene struct {
	t       *testing.T
	dir     string
	started atomic.Int64 // workers
	mode    atomic.Value // of the next worker
}

// newScene mounts a file system, puts programs on it that belong to root, and has them watched until the test ends.
func newScene(t *testing.T, mode string, names ...string) *scene {
	t.Helper()
	o := options(t, "") // skips without root
	s := &scene{t: t, dir: filepath.Join(o.Only, "field")}
	s.mode.Store(mode)
	if err := errors.Join(os.Mkdir(s.dir, 0o755), unix.Mount("memory", s.dir, "tmpfs", 0, "size=16m")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(s.dir, unix.MNT_DETACH) })
	for _, n := range names {
		b, err := os.ReadFile("/bin/true")
		if err == nil {
			err = os.WriteFile(filepath.Join(s.dir, n), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Deadline = 300 * time.Millisecond
	o.Command = func() *exec.Cmd {
		s.started.Add(1)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), workerMode+"="+s.mode.Load().(string), "CHAPERONE_TEST_MUST="+filepath.Join(s.dir, "must"), "CHAPERONE_TEST_PID="+s.pid())
		return cmd
	}
	ready := make(chan struct{})
	o.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- holder.Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return s
}

// starts starts a program by a shell: this process answers, and must not wait for itself.
func (s *scene) starts(name string) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `"$1"; exit $?`, "sh", filepath.Join(s.dir, name))
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return true
	case errors.As(err, &exit) && exit.ExitCode() == 126:
		return false
	}
	s.t.Fatalf("%s: %v", name, err)
	return false
}

// replace ends the worker that is there; the next answers in another way.
func (s *scene) replace(mode string) {
	s.t.Helper()
	s.mode.Store(mode)
	before := s.started.Load()
	if b, err := os.ReadFile(s.pid()); err == nil {
		if pid, err := strconv.Atoi(string(b)); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	s.until("another worker", func() bool { return s.started.Load() > before })
}

// pid is the file in which a worker says which process it is.
func (s *scene) pid() string { return filepath.Join(filepath.Dir(s.dir), "pid") }

func (s *scene) until(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("no %s", what)
		}
	}
}

// want starts a program; one that may start is tried until there is a worker that says so in time.
func (s *scene) want(name string, start bool) {
	s.t.Helper()
	if start {
		s.until("start of "+name, func() bool { return s.starts(name) })
	} else if s.starts(name) {
		s.t.Errorf("%s started", name)
	}
}

// TestAnswers passes on what the worker says, whatever else it says.
func TestAnswers(t *testing.T) {
	for _, mode := range []string{"answers", "another", "old"} {
		t.Run(mode, func(t *testing.T) {
			s := newScene(t, mode, "good", "bad")
			s.want("good", true)
			s.want("bad", false)
		})
	}
}

// TestSilence refuses what a worker does not answer in time, and replaces it; what was allowed before and what the machine cannot do without
// start meanwhile.
func TestSilence(t *testing.T) {
	s := newScene(t, "answers", "good", "other good", "bad", "must")
	s.want("good", true)
	s.want("must", true)
	s.replace("silent")
	for range 3 {
		s.want("good", true)
		s.want("must", true)
		s.want("bad", false)
		s.want("other good", false)
	}
	before := s.started.Load()
	s.until("replaced worker", func() bool { s.want("bad", false); return s.started.Load() > before })
	s.mode.Store("answers")
	s.want("other good", true)
}

// TestOldAnswersAreForgotten asks again about what was allowed under another policy, and remembers nothing of an answer by an old one.
func TestOldAnswersAreForgotten(t *testing.T) {
	s := newScene(t, "answers", "good")
	s.want("good", true)
	s.replace("strict")
	s.until("refusal", func() bool { return !s.starts("good") })
	s.replace("silent")
	s.want("good", false)
}

// TestHandedOver lets through what the first worker says was allowed before this holder was there, where that was under the policy in force, where
// nobody else can write it, and as long as it is not changed.
func TestHandedOver(t *testing.T) {
	for _, mode := range []string{"hands", "hands what was allowed under another policy", "hands what was not allowed", "hands what was allowed once"} {
		t.Run(mode, func(t *testing.T) {
			s := newScene(t, mode, "handed", "bad")
			s.want("bad", false)
			if s.starts("handed") != (mode == "hands") {
				t.Error("handed started, or did not")
			}
			if mode != "hands" {
				return
			}
			s.mode.Store("silent")
			before := s.started.Load()
			s.until("replaced worker", func() bool { s.want("bad", false); return s.started.Load() > before })
			s.want("handed", true)
			f, err := os.OpenFile(filepath.Join(s.dir, "handed"), os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString("x")
			}
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			s.want("handed", false)
		})
	}
}

// TestNonsense replaces a worker that says what is no message.
func TestNonsense(t *testing.T) {
	s := newScene(t, "nonsense", "good", "bad")
	s.want("bad", false)
	s.until("replaced worker", func() bool { _ = s.starts("good"); return s.started.Load() > 1 })
	s.mode.Store("answers")
	s.want("good", true)
	s.want("bad", false)
}

// TestOpenForWriting does not start what somebody has open for writing, where others than root may change it.
func TestOpenForWriting(t *testing.T) {
	s := newScene(t, "answers", "good")
	path := filepath.Join(s.dir, "good")
	if err := os.Chown(path, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.want("good", false)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.want("good", true)
}
