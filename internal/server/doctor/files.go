package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
)

func configuration(_ context.Context, x *exam) {
	err := server.Check(x.c)
	if err == nil {
		x.ok("configuration, policy, people and keys can be read and fit together")
		return
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		x.add(Fail, line, "serve does not start with it", "correct it; chaperone config test and chaperone policy check say the place")
	}
}

func data(_ context.Context, x *exam) {
	dir := x.c.Data()
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		x.add(Fail, err.Error(), "there is nowhere to keep records", "chaperone quickstart makes it, or set data_dir")
	case info.Mode().Perm()&0o007 != 0:
		x.add(Warn, dir+" can be entered by everybody on this machine", "content is sealed, and names of streams, times and sizes can still be seen", "chmod o= "+dir)
	default:
		x.ok("%s is closed to others", dir)
	}
	socket := filepath.Join(dir, "control.sock")
	info, err = os.Lstat(socket)
	switch {
	case err != nil:
		return
	case info.Mode().Type() != fs.ModeSocket:
		x.add(Fail, socket+" is no socket", "commands cannot reach serve", "remove it and restart serve")
	case info.Mode().Perm()&0o007 != 0:
		x.add(Fail, socket+" can be used by everybody on this machine", "any user can ask for operations", "chmod 0660 "+socket)
	default:
		x.ok("the control socket is for its owner and group only")
	}
}

// Free space that is little, and too little.
const (
	littleRoom = 1 << 30
	noRoom     = 64 << 20
)

func disk(_ context.Context, x *exam) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(x.c.Data(), &st); err != nil {
		x.add(Fail, "disk of the data directory: "+err.Error(), "nothing can be recorded", "mount it")
		return
	}
	free := st.Bavail * uint64(st.Bsize)
	const why = "what cannot be recorded is refused, or spooled where on_failure is open"
	switch {
	case free < noRoom:
		x.add(Fail, fmt.Sprintf("%d MiB free for records", free>>20), why, "make room")
	case free < littleRoom:
		x.add(Warn, fmt.Sprintf("%d MiB free for records", free>>20), why, "make room soon")
	default:
		x.ok("%d GiB free for records", free>>30)
	}
}

// builtAfter is before this program was written: a clock that stands there is wrong.
var builtAfter = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func clockSync(_ context.Context, x *exam) {
	if now := x.o.Now(); now.Before(builtAfter) {
		x.add(Fail, "the clock says "+now.UTC().Format(time.RFC3339), "certificates, retention and day rolls go by it", "set the clock and let NTP keep it")
		return
	}
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err != nil || state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		x.add(Warn, "the kernel does not know the clock to be synchronised", "times in records are evidence; the order of records does not depend on them",
			"run chrony or systemd-timesyncd; in a container the host's is enough")
		return
	}
	x.ok("the clock is synchronised")
}

func keyFiles(ctx context.Context, x *exam) {
	dir := x.c.KeysDir()
	if _, err := os.Stat(dir); err != nil {
		x.add(Fail, "keys: "+err.Error(), "nothing can be sealed or signed", "chaperone quickstart makes keys; restore them from their own backup if there are records")
		return
	}
	all, err := keyring.Exposures(ctx, dir)
	for i, e := range all {
		if i == 5 {
			break
		}
		x.add(Fail, e.Path+" can be read by others", keyring.ForOthers, "chmod "+e.Mode+" "+e.Path)
	}
	if err != nil {
		x.add(Fail, "keys: "+err.Error(), "serve needs to read them", "run as the user that serve runs as")
	} else if len(all) == 0 {
		x.ok("keys are for their owner only")
	}
	passphrase, isFile := strings.CutPrefix(x.c.Keys.Unlock, "file:")
	if isFile && within(x.c.Path(passphrase), x.c.Data(), dir) {
		x.add(Warn, "the passphrase of the compliance key lies beside the data", "a copy of the data directory can be read by whoever takes it", `give it as a systemd credential: keys: {unlock: "credential:NAME"}`)
	}
}

// within reports whether a path is below one of the folders.
func within(path string, dirs ...string) bool {
	for _, dir := range dirs {
		if rel, err := filepath.Rel(dir, path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return true
		}
	}
	return false
}

func recovery(_ context.Context, x *exam) {
	if _, err := os.Stat(filepath.Join(x.c.KeysDir(), keyring.RecoveryFile)); err != nil {
		x.add(Warn, "there is no "+keyring.RecoveryFile+" beside the keys", "a lost compliance key then loses every record", "restore it from the backup of the keys folder")
	}
	for _, dir := range []string{x.c.Dir, filepath.Dir(x.c.Data())} {
		shares, _ := filepath.Glob(filepath.Join(dir, "recovery-shares", "share-*"))
		if len(shares) > 0 {
			x.add(Warn, fmt.Sprintf("%d recovery shares are still on this machine", len(shares)), "whoever takes the machine has the key", "give them to different people and delete "+filepath.Join(dir, "recovery-shares"))
			return
		}
	}
	x.ok("no recovery shares lie about")
}
