// Package tell tells people why a program did not start: on the terminal that it was started from, and on their desktop.
//
// Terminals and desktops can hang, so a process of its own does that. The worker writes lines to it and never waits.
package tell

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/printable"
)

// Notice is what one person is told.
type Notice struct {
	UID      uint32 `json:"uid"`
	Terminal uint64 `json:"terminal"` // device number, 0 when there is none
	Title    string `json:"title"`
	Text     string `json:"text"`
}

const (
	maxLine   = 64 << 10
	queue     = 64
	patience  = 5 * time.Second // for a desktop
	perPerson = 2 * time.Second // between two notices on one desktop
)

// Options are where terminals and desktops are. Zero values mean the system's.
type Options struct {
	Terminals string // default /dev
	Sessions  string // default /run/user: a folder for each user, with his bus
	Program   string // default notify-send
}

// Run tells what comes in as lines of JSON until there are no more.
func Run(ctx context.Context, in io.Reader, o Options) error {
	if o.Terminals == "" {
		o.Terminals = "/dev"
	}
	if o.Sessions == "" {
		o.Sessions = "/run/user"
	}
	if o.Program == "" {
		o.Program = "notify-send"
	}
	notices := make(chan Notice, queue)
	done := make(chan struct{})
	go func() { defer close(done); o.desktops(ctx, notices) }()
	defer func() { close(notices); <-done }()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var n Notice
		if json.Unmarshal(lines.Bytes(), &n) != nil {
			continue
		}
		if n.Terminal != 0 {
			o.terminal(n)
		}
		select {
		case notices <- n:
		default: // desktops hang; terminals go on
		}
	}
	return lines.Err()
}

// terminal writes to the terminal with the notice's device number. One that takes nothing, because it is stopped, gets nothing.
func (o *Options) terminal(n Notice) {
	for _, pattern := range []string{"pts/" + strconv.FormatUint(uint64(unix.Minor(n.Terminal)), 10), "tty[0-9]*", "console"} {
		paths, _ := filepath.Glob(filepath.Join(o.Terminals, pattern)) // the patterns are good
		for _, path := range paths {
			if o.write(path, n) {
				return
			}
		}
	}
}

func (o *Options) write(path string, n Notice) bool {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != n.Terminal {
		return false
	}
	text := "\r\n" + printable.Line(n.Title) + "\r\n" + printable.Line(n.Text) + "\r\n"
	_, _ = unix.Write(fd, []byte(text)) // nobody to tell
	return true
}

// desktops shows notices one after the other.
func (o *Options) desktops(ctx context.Context, notices <-chan Notice) {
	last := map[uint32]time.Time{}
	for n := range notices {
		if ctx.Err() != nil || time.Since(last[n.UID]) < perPerson {
			continue
		}
		if len(last) > 1000 {
			clear(last)
		}
		o.desktop(ctx, n)
		last[n.UID] = time.Now() // a desktop that takes long gets no more for it
	}
}

// desktop shows a notice in the person's session, with the person's own rights.
func (o *Options) desktop(ctx context.Context, n Notice) {
	dir := filepath.Join(o.Sessions, strconv.FormatUint(uint64(n.UID), 10))
	bus := filepath.Join(dir, "bus")
	var st unix.Stat_t
	if unix.Lstat(bus, &st) != nil || st.Uid != n.UID || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return // no session
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Program, "--app-name=Chaperone", "--urgency=critical", "--", printable.Line(n.Title), printable.Line(n.Text))
	cmd.Env = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + bus, "XDG_RUNTIME_DIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	if uint32(os.Getuid()) != n.UID {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n.UID, Gid: group(st.Gid)}}
	}
	_ = cmd.Run() // a desktop without notifications is none to notify
}

// group is that of the session's bus, but never root's.
func group(gid uint32) uint32 {
	if gid == 0 {
		return 65534
	}
	return gid
}

// Words are what a person reads.
func Words(path, app, say, how string) (title, text string) {
	name := filepath.Base(path)
	title = "Chaperone: " + name + " was not started."
	if app != "" {
		title = "Chaperone: " + name + " (" + app + ") was not started."
	}
	return title, strings.TrimSpace(say + " " + how)
}
