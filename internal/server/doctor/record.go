package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/server/shortfall"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

const provable = "until a recipient outside has a checkpoint, nothing can be proven against who administers this machine"

func checkpoints(ctx context.Context, x *exam) {
	if len(x.c.Ledger.Checkpoints) == 0 {
		x.add(Fail, "no recipient of checkpoints is configured", provable, "set ledger.checkpoints to a folder, address or log server that another team owns")
	}
	for _, spec := range x.c.Ledger.Checkpoints {
		kind, rest, _ := strings.Cut(spec, ":")
		switch kind {
		case "file":
			drop(x, x.c.Path(strings.TrimPrefix(rest, "//")))
		case "http", "https":
			reach(ctx, x, spec)
		case "mailto":
			byMail(ctx, x, spec)
		default:
			if ledger.Local(spec) {
				local(x, spec)
				continue
			}
			x.ok("checkpoints go to %s, which does not answer: look there whether they arrive", spec)
		}
	}
}

func drop(x *exam, dir string) {
	var there, here syscall.Stat_t
	if err := syscall.Stat(dir, &there); err != nil {
		x.add(Fail, "checkpoint folder "+dir+": "+err.Error(), provable, "mount it, and let this user create files in it")
		return
	}
	if err := syscall.Access(dir, 2); err != nil {
		x.add(Fail, "checkpoint folder "+dir+" cannot be written to: "+err.Error(), provable, "let this user create files in it")
		return
	}
	if err := syscall.Stat(x.c.Data(), &here); err == nil && here.Dev == there.Dev {
		x.add(Warn, "the checkpoint folder "+dir+" is on the file system of the data", "it is not outside: who can change the record can change the checkpoints", "mount a folder of another machine, append-only if it can")
		return
	}
	x.ok("checkpoints go to %s, on a file system of its own", dir)
}

func reach(ctx context.Context, x *exam, spec string) {
	u, err := url.Parse(spec)
	if err != nil {
		x.add(Fail, "a checkpoint recipient is no address", provable, "correct ledger.checkpoints")
		return
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		x.add(Fail, fmt.Sprintf("checkpoint recipient %s is not reached: %v", u.Host, err), provable, "let this machine connect there")
		return
	}
	conn.Close()
	if ledger.Local(spec) {
		local(x, u.Host)
		return
	}
	x.ok("checkpoint recipient %s is reached", u.Host)
}

// local says that a recipient is on this machine.
func local(x *exam, what string) {
	x.add(Warn, "the checkpoint recipient "+what+" is on this machine", "it is not outside: who can change the record can change what is kept there", "name a recipient on a machine that another team owns")
}

// byMail asks whether the mail server is reached; whether a mail arrives only its reader knows.
func byMail(ctx context.Context, x *exam, spec string) {
	m := x.c.Alerts.Mail
	if m == nil {
		x.add(Fail, "checkpoints go to "+spec+", and there is no mail server", provable, "set alerts.mail: checkpoints go out by the same server")
		return
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		x.add(Fail, fmt.Sprintf("the mail server %s of checkpoints is not reached: %v", m.Server, err), provable, "let this machine connect there")
		return
	}
	conn.Close()
	x.ok("checkpoints go to %s by %s, which is reached: look there whether they arrive", spec, m.Server)
}

// running reports whether a process holds the journal's lock.
func running(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, "journal.lock"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), nil
}

// journalState says whether serve runs, and what it says of itself.
func journalState(ctx context.Context, x *exam) {
	held, err := running(x.c.Data())
	if err != nil {
		x.add(Fail, "journal.lock: "+err.Error(), "serve cannot tell whether another process writes", "run as the user that serve runs as")
		return
	}
	if !held {
		x.ok("no chaperone runs on this data directory")
		return
	}
	var out bytes.Buffer
	if err := control.Do(ctx, x.c.Data(), "health", struct{}{}, nil, &out); err != nil {
		x.add(Fail, "a process holds the journal and does not answer: "+err.Error(), "commands cannot reach it", "look at its log; end it by its id if it hangs")
		return
	}
	x.ok("chaperone serve runs and answers")
	for d := json.NewDecoder(&out); d.More(); {
		var i health.Item
		if d.Decode(&i) != nil {
			return
		}
		switch i.State {
		case health.Failed:
			x.add(Fail, i.Name+": "+i.Detail, "serve says that it has failed", i.Advice)
		case health.Degraded:
			x.add(Warn, i.Name+": "+i.Detail, "serve says that it is degraded", i.Advice)
		}
	}
}

// record verifies the record as it lies on disk, against a checkpoint folder when one is configured.
func record(ctx context.Context, x *exam) {
	if missing(x) {
		return
	}
	o := verify.Options{Keys: x.c.KeysDir()}
	for _, spec := range x.c.Ledger.Checkpoints {
		dir := x.c.Path(strings.TrimPrefix(strings.TrimPrefix(spec, "file:"), "//"))
		if sent, err := os.ReadDir(dir); strings.HasPrefix(spec, "file:") && err == nil && len(sent) > 0 {
			o.Checkpoint = dir
			break
		}
	}
	r, err := verify.Verify(ctx, x.c.Data(), o)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		x.add(Warn, "verifying takes longer than doctor waits", "tampering would go unseen here", "chaperone verify --checkpoint F "+x.c.Data())
	case err != nil:
		x.add(Warn, "verify: "+err.Error(), "tampering would go unseen here", "chaperone verify --checkpoint F "+x.c.Data())
	case r.Verdict == verify.Broken:
		x.add(Fail, r.Words+": "+r.Findings[0].String(), "something was changed or removed", "keep a copy as it is, then chaperone verify says what and where")
	case o.Checkpoint == "":
		x.add(Warn, r.Words, "against the administrator of this machine only an outside checkpoint proves", "chaperone verify --checkpoint F with one that was kept outside")
	default:
		x.ok("%s", r.Words)
	}
}

// missing says that the record is shorter than the data directory knows it was, or gone; it reports whether there is none to verify.
func missing(x *exam) bool {
	what, err := shortfall.Look(x.c.Data(), file.OpenReader(x.c.Data()))
	switch {
	case err != nil:
		x.add(Fail, err.Error(), "serve does not start: it would begin a new record in the place of the one that is lost", "restore the data directory from its backup; only to begin anew, move the whole data directory away")
	case what != "":
		x.add(Fail, what, "records that were acknowledged are missing", shortfall.Do)
	}
	if _, none := os.Stat(filepath.Join(x.c.Data(), "journal")); none == nil {
		return false
	}
	if err == nil {
		x.ok("there are no records yet")
	}
	return true
}
