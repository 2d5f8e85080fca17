package agentcmd_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func notify() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
}

// attack is what this test binary does as somebody who wants to get around the agent.
func attack(args []string) int {
	return 2
}

// TestNamesCountForNothing tries a messenger under other names, in other places and with more bytes.
func TestNamesCountForNothing(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad, good, root := f.program("holiday", messenger), f.program("good", ""), f.program("root-good", "")
	f.start()
	for range 3 {
		f.want(good, true)
		f.want(root, true)
		f.want(bad, false)
	}
	renamed := filepath.Join(f.dir, "ls")
	if err := os.Rename(bad, renamed); err != nil {
		t.Fatal(err)
	}
	f.want(renamed, false)
	link := filepath.Join(f.dir, "link")
	if err := os.Link(renamed, link); err != nil {
		t.Fatal(err)
	}
	f.want(link, false)
	soft := filepath.Join(t.TempDir(), "soft") // on a file system that is not watched
	if err := os.Symlink(link, soft); err != nil {
		t.Fatal(err)
	}
	f.want(soft, false)
	f.want(f.program("copy", messenger), false)
	f.want(f.program("one more byte", messenger+"x"), false)
	f.want(f.program("root-owned", messenger), false)
	f.want(f.program("good again", "x"), true)
}
