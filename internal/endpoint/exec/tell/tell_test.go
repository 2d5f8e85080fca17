package tell_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/tell"
)

// terminal opens a pseudo terminal.
func terminal(t *testing.T) (*os.File, uint64) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/dev/pts/"+strconv.Itoa(n), &st); err != nil {
		t.Skip(err)
	}
	return master, uint64(st.Rdev)
}

func lines(t *testing.T, notices ...tell.Notice) *strings.Reader {
	t.Helper()
	var b strings.Builder
	for _, n := range notices {
		if err := json.NewEncoder(&b).Encode(n); err != nil {
			t.Fatal(err)
		}
	}
	return strings.NewReader(b.String())
}

// TestTerminal tells on the terminal, and nothing that a terminal would obey comes through.
func TestTerminal(t *testing.T) {
	master, device := terminal(t)
	title, text := tell.Words("/home/alice/holiday\x1b[2J", "telegram", "Please use the firm's own chat.", "Ask.")
	in := lines(t, tell.Notice{Terminal: device, Title: title, Text: text})
	if err := tell.Run(t.Context(), in, tell.Options{Sessions: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := master.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b[:n])
	if !strings.Contains(got, "telegram") || !strings.Contains(got, "was not started") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}

// TestOtherTerminals writes to no terminal but the one, and passes nonsense by.
func TestOtherTerminals(t *testing.T) {
	master, device := terminal(t)
	in := strings.NewReader("nonsense\n" + fmt.Sprintf(`{"terminal":%d,"title":"x"}`, device+1) + "\n")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "pts"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pts", strconv.Itoa(int(unix.Minor(device+1))))
	if err := os.WriteFile(file, nil, 0o600); err != nil { // a trap
		t.Fatal(err)
	}
	if err := tell.Run(t.Context(), in, tell.Options{Terminals: dir, Sessions: dir}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	fd := int(master.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	if n, _ := unix.Read(fd, make([]byte, 10)); n > 0 {
		t.Error("somebody else was told")
	}
}

// TestDesktop shows a notice in the session of the person, once in a while, and waits for no desktop that hangs.
func TestDesktop(t *testing.T) {
	dir := t.TempDir()
	uid := uint32(os.Getuid())
	session := filepath.Join(dir, strconv.Itoa(int(uid)))
	if err := os.Mkdir(session, 0o755); err != nil {
		t.Fatal(err)
	}
	bus, err := net.Listen("unix", filepath.Join(session, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	out := filepath.Join(dir, "out")
	program := filepath.Join(dir, "notify")
	script := "#!/bin/sh\necho \"$DBUS_SESSION_BUS_ADDRESS $*\" >>" + out + "\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	n := tell.Notice{UID: uid, Title: "x was not started", Text: "because"}
	begun := time.Now()
	if err := tell.Run(t.Context(), lines(t, n, n, tell.Notice{UID: uid + 1}), tell.Options{Sessions: dir, Program: program}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil || strings.Count(string(b), "\n") != 1 || !strings.Contains(string(b), "x was not started because") || !strings.Contains(string(b), "unix:path="+session) {
		t.Errorf("%q, %v, after %s", b, err, time.Since(begun))
	}
}
